"""Simulated pictures: embeddings like the ten real ones that are at hand, scored by the real LAION head.

Mean, size and spectrum are theirs; all else is Gaussian, so that whatever is measured on them is optimistic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hotfolder.taste.evidence import Floats

REPOSITORY = Path(__file__).resolve().parents[2]
_GOLDEN, _HEAD = "laion-golden-embeddings.npz", "sac+logos+ava1-l14-linearMSE.pth"
#: Pictures of one prompt, and which share of what tells pictures apart they have in common.
OF_A_PROMPT, _IN_COMMON = 4, 0.5
_EXPONENTS = np.arange(0.4, 1.7, 0.1)


@dataclass(frozen=True)
class World:
    """Pictures of one inbox: the first `pool` of them may be judged, the rest are held out."""

    vectors: np.ndarray  # (n, 768) float32, of length 1
    priors: Floats  # (n,) by the head
    prompts: np.ndarray  # (n,) int
    pool: int
    is_real_head: bool

    @property
    def contents(self) -> list[str]:
        return [f"{number:064x}" for number in range(len(self.vectors))]


def weights_folder() -> Path:
    """Where real weights lie, if they do."""
    return Path(os.environ.get("HOTFOLDER_TEST_WEIGHTS", REPOSITORY.parent / "shared/weights"))


def make(seed: int, pool: int = 2000, held_out: int = 1000) -> World:
    """Without the real weights: the same with a head and a spectrum that are made up, which is said."""
    folder = weights_folder()
    if not (folder / _GOLDEN).exists() or not (folder / _HEAD).exists():
        folder = Path("../shared/weights")
    is_real = (folder / _GOLDEN).exists() and (folder / _HEAD).exists()
    if is_real:
        from hotfolder.engines.scoring.laion import load_head

        golden = np.load(folder / _GOLDEN)["embeddings"].astype(np.float64)
        ((weight, bias),) = load_head(folder / _HEAD)
        head, offset = weight.double().numpy()[0], float(bias[0])
        exponent = _exponent(golden)
        spread_of_score = float(np.std(golden @ head + offset, ddof=1))
    else:
        made_up = np.random.default_rng(0)
        golden = np.full((10, 768), 0.6 / np.sqrt(768)) + made_up.normal(0, 0.8 / np.sqrt(768), (10, 768))
        head = made_up.normal(0, 18 / np.sqrt(768), 768)
        offset, exponent, spread_of_score = 5.2, 1.0, 0.8
    mean = golden.mean(axis=0)
    variance = float(((golden - mean) ** 2).sum() / (len(golden) - 1))
    rng = np.random.default_rng(seed)
    count, width = pool + held_out, golden.shape[1]
    sizes = np.arange(1, width + 1.0) ** -exponent
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(width, width)))[0]  # the same in every world
    prompts = np.arange(count) // OF_A_PROMPT
    common = rng.normal(size=(prompts[-1] + 1, width))[prompts]
    own = rng.normal(size=(count, width))
    drawn = np.sqrt(_IN_COMMON) * common + np.sqrt(1 - _IN_COMMON) * own
    apart = (drawn * np.sqrt(sizes * variance / sizes.sum())) @ rotation.T
    unit = head / np.linalg.norm(head)
    along = apart @ unit
    apart += np.outer(along * (spread_of_score / np.linalg.norm(head) / along.std() - 1), unit)
    vectors = mean + apart
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = vectors.astype(np.float16).astype(np.float32)  # as the database has them
    return World(stored, stored.astype(np.float64) @ head + offset, prompts, pool, is_real)


def _exponent(golden: Floats) -> float:
    """Of eigenvalues ∝ i^-x from which ten pictures come to a spectrum like that of the real ones."""
    count, width = golden.shape
    real = _shares(golden)
    rng = np.random.default_rng(2)
    drawn = rng.normal(size=(20, count, width))
    misses = []
    for exponent in _EXPONENTS:
        sizes = np.arange(1, width + 1.0) ** (-exponent / 2)
        found = np.mean([_shares(each * sizes) for each in drawn], axis=0)
        misses.append(float(((found - real) ** 2).sum()))
    return float(_EXPONENTS[int(np.argmin(misses))])


def _shares(pictures: Floats) -> Floats:
    """The spectrum of a few pictures, as shares of the whole."""
    apart = pictures - pictures.mean(axis=0)
    found = np.linalg.eigvalsh(apart @ apart.T)[::-1][:-1]
    return found / found.sum()
