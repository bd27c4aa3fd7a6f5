"""A picture as far as it has to be looked at, and what scorers say of it: what is known already, and what is new."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.engines.device import precision_name
from hotfolder.engines.scoring.base import Encoder, Scorer, View
from hotfolder.types import Embedding, Precise, Remembered, Score

#: How the precisions of scores are called: one that is float32's, and one from a stored embedding.
FULL, _STORED = precision_name(torch.float32), f"stored-{precision_name(torch.float16)}"
#: What float16 costs a stored embedding, in points of the score: at least, and for each unit of the scorer's slope
#: (laion-v2's is 18). Its roundings are hundreds, and mostly cancel out: this is five times their spread.
_STORED_ERROR, _STORED_SHIFT = 0.001, 0.001 / 18
#: A recorded score in half precision may be from a version of hotfolder that was so many times less exact.
_RECORDED_FACTOR = 4
#: No score has to be float32's.
DEVICES_OWN = Precise()


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as far as it has to be looked at."""

    views: Mapping[str, View] = field(default_factory=dict)  # encoder id -> view: what is not known
    #: Views beside those, for scores that may have to be taken in float32.
    spare: Mapping[str, View] = field(default_factory=dict)
    recalled: Mapping[str, Score] = field(default_factory=dict)  # scorer -> what is known
    precise: Precise = DEVICES_OWN
    made: tuple[Embedding, ...] = ()  # of the picture, without a device
    scorers: Mapping[str, Scorer] = field(default_factory=dict)  # those that can judge it


def view_again(look: Look, id_: str, scores: Mapping[str, Score]) -> View | None:
    """What an encoder can look at once more, unless all is known already as float32 has it."""
    own = [scores.get(name) for name, scorer in look.scorers.items() if scorer.encoder.id == id_]
    if all(score is not None and score.precision == FULL for score in own):
        return None
    return look.views.get(id_, look.spare.get(id_))


def forget(look: Look, scores: dict[str, Score], id_: str) -> None:
    for name, scorer in look.scorers.items():
        if scorer.encoder.id == id_:
            scores.pop(name, None)


def rate(
    looks: Sequence[Look],
    scores: Sequence[dict[str, Score]],
    new: Sequence[Mapping[str, torch.Tensor]],
    which: Sequence[int],
    encoder: Encoder,
    precision: str,
) -> None:
    """Adds what an encoder's scorers say of these looks' new embeddings, where it is not known."""
    of: dict[int, tuple[str, Scorer, list[int]]] = {}  # one scorer judges many looks, one of a prompt few
    for index in which:
        for name, scorer in looks[index].scorers.items():
            if scorer.encoder.id == encoder.id and name not in scores[index]:
                of.setdefault(id(scorer), (name, scorer, []))[2].append(index)
    for name, scorer, open_ in of.values():
        values = scorer.rate(torch.stack([new[index][encoder.id] for index in open_])).tolist()
        for index, value in zip(open_, values, strict=True):
            scores[index][name] = Score(value, *_version(scorer), precision)


@torch.inference_mode()
def recall(known: Remembered | None, judges: Mapping[str, Scorer]) -> dict[str, Score]:
    """The scores that are known, or that follow from embeddings that are known."""
    if known is None:
        return {}
    found: dict[str, Score] = {}
    stored = {embedding.encoder: embedding.vector for embedding in known.embeddings}
    for name, scorer in judges.items():
        before = [score for score in known.scores if score.version == _version(scorer)]
        if before:
            found[name] = next((score for score in before if score.precision == FULL), before[0])
        elif scorer.encoder.id in stored:
            value = float(scorer.rate(_unpacked(stored[scorer.encoder.id])[None])[0])
            found[name] = Score(value, *_version(scorer), _STORED)
    return found


def error_of(scorer: Scorer, score: Score | None, *, recorded: bool) -> float:
    """How far a score, or the one that its encoder would give, may be from float32's."""
    precision = score.precision if score is not None else scorer.encoder.precision
    if precision == FULL:
        return 0.0
    error = scorer.slope * scorer.encoder.half_error * (_RECORDED_FACTOR if recorded else 1)
    return error + (max(_STORED_ERROR, _STORED_SHIFT * scorer.slope) if precision == _STORED else 0)


def _version(scorer: Scorer) -> tuple[str, str, str]:
    return scorer.name, scorer.weights_sha256, scorer.encoder.preprocessing


def packed(row: NDArray[np.float32]) -> str:
    """An embedding as it is recorded: float16, in base64."""
    return base64.b64encode(row.astype("<f2").tobytes()).decode()


def _unpacked(vector: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(vector), "<f2").astype(np.float32))
