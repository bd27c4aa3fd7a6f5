"""The file of a taste: one linear head on an encoder's embeddings, beside the score that it was learnt beside.

    score = prior + offset + weight·e + bias

so that a score at the gate's threshold means that the person is as likely to keep the picture as not. The three parts
are the scorer's own score, the person's threshold, and what the person likes beyond the score.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hotfolder.errors import ModelDamaged, ModelMissing

ENDING = ".safetensors"
_KEY, _VERSION = "taste", 1
#: <inbox>-<labels>-<the first digits of the file's sha256>
_NAME = re.compile(r"(?P<inbox>[A-Za-z0-9][A-Za-z0-9._ -]*)-(?P<labels>\d+)-(?P<digest>[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a head says of itself."""

    inbox: str
    level: str  # 'threshold' or 'direction'
    encoder: str  # which embeddings it reads
    prior: str  # the scorer beside which it was learnt
    keep: float  # the gate's threshold then
    spread: float  # of the prior's score over the library
    labels: int
    pairs: int
    digest: str  # of the labels and pairs
    learnt_at: float  # seconds since the epoch: of the newest label
    strength: float | None  # λ; None without a direction
    a: float  # how much the prior counts
    c: float
    own_a: float  # the same of the person's threshold alone, without a direction
    own_c: float
    offset: float  # the person's threshold, in points of the score
    threshold: float
    threshold_lowest: float  # 90 % interval
    threshold_highest: float
    auc: float | None  # on pictures that it was not learnt from
    auc_error: float | None
    prior_auc: float | None
    sureness: float | None  # standard errors by which it is better than the threshold alone
    brier: float | None
    calibration: tuple[float, float] | None  # slope and offset of p(keep) = 1/(1 + exp(-(slope·z + offset)))
    is_floored: bool  # the prior told so little that it counts the least that it may


@dataclass(frozen=True, slots=True)
class Head:
    facts: Facts
    weight: NDArray[np.float32]  # (d,)
    bias: float

    def score(self, prior: float, embedding: NDArray[np.float32]) -> float:
        """On the prior's scale."""
        return prior + self.facts.offset + self.personal(embedding)

    def personal(self, embedding: NDArray[np.float32]) -> float:
        """What the person likes beyond the score, in points of it."""
        return float(embedding.astype(np.float64) @ self.weight.astype(np.float64)) + self.bias

    def z(self, score: float) -> float:
        """The log-odds of keeping, of a score by this head."""
        return self.facts.a / self.facts.spread * (score - self.facts.keep)

    def chance(self, score: float) -> float:
        """How likely the person keeps a picture of this score, calibrated; 0 to 1."""
        slope, offset = self.facts.calibration or (1.0, 0.0)
        z = slope * self.z(score) + offset
        return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def packed(head: Head) -> tuple[str, bytes]:
    """The name and the content of its file: the same head gives the same bytes."""
    facts = json.dumps({"version": _VERSION, **asdict(head.facts)}, sort_keys=True)
    tensors: dict[str, NDArray[Any]] = {
        "bias": np.array([head.bias], np.float64),
        "weight": head.weight.astype(np.float32),
    }
    content: bytes = save(tensors, metadata={_KEY: facts})
    digest = hashlib.sha256(content).hexdigest()[:12]
    return f"{head.facts.inbox}-{head.facts.labels}-{digest}", content


def is_name(name: str) -> bool:
    """Whether a head may be called so."""
    return _NAME.fullmatch(name) is not None


def inbox_of(name: str) -> str | None:
    """The inbox that a head of this name was learnt from."""
    found = _NAME.fullmatch(name)
    return found["inbox"] if found else None


def path_of(folder: Path, name: str) -> Path:
    """Where a head lies. Raises ModelMissing for a name that none has."""
    if not is_name(name):
        raise ModelMissing(f"no taste is called '{name}'", "see: hotfolder taste status")
    return folder / (name + ENDING)


def read(path: Path) -> Head:
    """Raises ModelMissing where it is not there, ModelDamaged where it is not what its name says."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelMissing(
            f"the taste '{path.stem}' is not there any more", "hotfolder taste use, or hotfolder taste off"
        ) from None
    except OSError as error:
        raise ModelDamaged(
            f"the taste '{path.stem}' cannot be read: {error.strerror}", "make it readable"
        ) from None
    found = _NAME.fullmatch(path.stem)
    if found is None or not hashlib.sha256(content).hexdigest().startswith(found["digest"]):
        raise ModelDamaged(
            f"the taste '{path.stem}' is not what its name says", "learn it anew: hotfolder taste train"
        )
    return _read(path)


def _read(path: Path) -> Head:
    try:
        with safe_open(path, "numpy") as file:
            said = json.loads((file.metadata() or {})[_KEY])
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        return Head(_facts(said), weight.astype(np.float32), float(bias[0]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelDamaged(
            f"the taste '{path.stem}' cannot be read ({type(error).__name__})",
            "learn it anew: hotfolder taste train",
        ) from None


def _facts(said: Mapping[str, Any]) -> Facts:
    known = {key: value for key, value in said.items() if key in Facts.__dataclass_fields__}
    facts = Facts(**known)
    return replace(facts, calibration=tuple(facts.calibration)) if facts.calibration else facts  # type: ignore[arg-type]
