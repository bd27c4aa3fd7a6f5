"""The scorers that judge together: those of the gate's formula, and those beside it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hotfolder.core import formula
from hotfolder.core.tastes import told
from hotfolder.engines.device import pick_dtype, precision_name
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.base import Bench, Encoder, Scorer, View, WordEncoder
from hotfolder.engines.scoring.runner import Runner
from hotfolder.engines.scoring.taste import TasteScorer
from hotfolder.errors import ScoreFailed
from hotfolder.models.registry import Catalogue
from hotfolder.types import Embedding, Kind, Precise, Remembered, RunnerSettings, Score

#: How the precisions of scores are called: one that is float32's, and one from a stored embedding.
_FULL, _STORED = precision_name(torch.float32), f"stored-{precision_name(torch.float16)}"
#: What float16 costs a stored embedding, in points of the score.
_STORED_ERROR = 0.001
#: A recorded score in half precision may be from a version of hotfolder that was so many times less exact.
_RECORDED_FACTOR = 4
#: No score has to be float32's.
_DEVICES_OWN = Precise()


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as far as it has to be looked at."""

    views: Mapping[str, View] = field(default_factory=dict)  # encoder id -> view: what is not known
    #: Views beside those, for scores that may have to be taken in float32.
    spare: Mapping[str, View] = field(default_factory=dict)
    recalled: Mapping[str, Score] = field(default_factory=dict)  # scorer -> what is known
    precise: Precise = _DEVICES_OWN
    made: tuple[Embedding, ...] = ()  # of the picture, without a device


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the ensemble says about one picture."""

    score: Score
    parts: tuple[Score, ...]
    embeddings: tuple[Embedding, ...]  # those that were not known


@dataclass(frozen=True, slots=True)
class Started:
    """Looks whose embeddings the device may be working on yet."""

    looks: tuple[Look, ...]
    fresh: Mapping[str, torch.Tensor]  # encoder id -> (m, d), for the m looks that have a view


class ScorerEnsemble:
    """Loaded scorers. Each encoder looks at a picture once, however many scorers read it."""

    def __init__(self, text: str, scorers: Mapping[str, Scorer], device: torch.device) -> None:
        """`text` is the gate's formula of these scorers' names."""
        self._formula = formula.parse(text)
        self._scorers = scorers
        self.encoders: dict[str, Encoder] = {s.encoder.id: s.encoder for s in scorers.values()}
        self.runners = {id_: Runner(encoder, device) for id_, encoder in self.encoders.items()}

    @classmethod
    def load(cls, text: str, settings: RunnerSettings, device: torch.device) -> ScorerEnsemble:
        """Loads the scorers of a formula, and those of the settings.

        Raises UsageError, ModelMissing or ModelDamaged, naming the scorer.
        """
        bench = Bench(device, pick_dtype(device, settings.precision), settings, {})
        names = dict.fromkeys((*formula.parse(text).names, *settings.scorers))
        tastes = Path(settings.tastes) if settings.tastes is not None else None
        catalogue = Catalogue(settings.model_folders, settings.model_entries, tastes)
        scorers = {n: load_scorer(catalogue.resolve(n, Kind.SCORE), bench) for n in names}
        # What a taste was learnt beside is recorded, too: more is learnt from it.
        priors = [scorer.prior for scorer in scorers.values() if isinstance(scorer, TasteScorer)]
        return cls(text, {**{prior.name: prior for prior in priors}, **scorers}, device)

    @property
    def batch_size(self) -> int:
        """How many looks are worth starting together."""
        return max(runner.sizing.size for runner in self.runners.values())

    def missing(self, known: Remembered | None, precise: Precise = _DEVICES_OWN) -> list[Encoder]:
        """The encoders that have to see a picture about which this is known."""
        views, spare = self._needed(known, self._recall(known), precise)
        return [encoder for id_, encoder in self.encoders.items() if id_ in views | spare]

    def _needed(
        self, known: Remembered | None, recalled: Mapping[str, Score], precise: Precise
    ) -> tuple[set[str], set[str]]:
        """Ids of encoders: whose embedding is not known, and which may have to see the picture in float32."""
        views = {s.encoder.id for name, s in self._scorers.items() if name not in recalled}
        spare: set[str] = set()
        if views or self._is_undecided(recalled, precise, recalled):
            unsure = [name for name in self._formula.names if self._error(name, recalled.get(name), recorded=True)]
            spare = {self._scorers[name].encoder.id for name in unsure} if precise != _DEVICES_OWN else set()
        if precise.at_least == -math.inf:
            # All in float32, so not in half precision first.
            at_once = {id_ for id_ in views if self.encoders[id_].precision != _FULL}
            return views - at_once, spare | at_once
        return views, spare - views

    def look(
        self, image: Image.Image | None, known: Remembered | None = None, precise: Precise = _DEVICES_OWN
    ) -> Look:
        """Prepares an RGB image; None when nothing is missing. For threads ahead of the device."""
        recalled = self._recall(known)
        views, spare = self._needed(known, recalled, precise)
        prepared: dict[str, View] = {}
        if views | spare:
            assert image is not None
            prepared = {id_: e.prepare(image) for id_, e in self.encoders.items() if id_ in views | spare}
        own, more = ({id_: view for id_, view in prepared.items() if id_ in ids} for ids in (views, spare))
        return Look(own, more, recalled, precise)

    def start(self, looks: Sequence[Look]) -> Started:
        """Sends views to the device without waiting for it."""
        fresh = {}
        for id_, runner in self.runners.items():
            views = [look.views[id_] for look in looks if id_ in look.views]
            if views:
                fresh[id_] = runner.run(views)
        return Started(tuple(looks), fresh)

    @torch.inference_mode()
    def finish(self, started: Started) -> list[Judgement | ScoreFailed]:
        """Waits for the device; a judgement for each look, or why there is none.

        Where a look asks for it, scores that decide nothing for certain are taken again in float32.
        """
        rows = {id_: iter(found.cpu()) for id_, found in started.fresh.items()}
        new: list[dict[str, torch.Tensor]] = [
            {id_: next(rows[id_]) for id_ in look.views} for look in started.looks
        ]
        scores = [dict(look.recalled) for look in started.looks]
        for id_, encoder in self.encoders.items():
            self._rate(scores, new, [i for i, each in enumerate(new) if id_ in each], encoder, encoder.precision)
        undecided = [
            index
            for index, look in enumerate(started.looks)
            if self._is_undecided(scores[index], look.precise, look.recalled)
        ]
        for id_, runner in self.runners.items():
            views = {i: v for i in undecided if (v := self._view(started.looks[i], id_, scores[i])) is not None}
            if views:
                found = runner.run(list(views.values()), precisely=True).cpu()
                for index, row in zip(views, found, strict=True):
                    new[index][id_] = row
                    self._forget(scores[index], id_)
                self._rate(scores, new, list(views), self.encoders[id_], _FULL)
        return [self._combine(each, found) for each, found in zip(scores, new, strict=True)]

    def _view(self, look: Look, id_: str, scores: Mapping[str, Score]) -> View | None:
        """What an encoder can look at once more, unless all is known already as float32 has it."""
        own = [scores.get(name) for name, scorer in self._scorers.items() if scorer.encoder.id == id_]
        if all(score is not None and score.precision == _FULL for score in own):
            return None
        return look.views.get(id_, look.spare.get(id_))

    def _forget(self, scores: dict[str, Score], id_: str) -> None:
        for name, scorer in self._scorers.items():
            if scorer.encoder.id == id_:
                scores.pop(name, None)

    def _rate(
        self,
        scores: Sequence[dict[str, Score]],
        new: Sequence[Mapping[str, torch.Tensor]],
        which: Sequence[int],
        encoder: Encoder,
        precision: str,
    ) -> None:
        """Adds what an encoder's scorers say of these looks' new embeddings, where it is not known."""
        for name, scorer in self._scorers.items():
            open_ = [index for index in which if name not in scores[index]]
            if scorer.encoder.id != encoder.id or not open_:
                continue
            values = scorer.rate(torch.stack([new[index][encoder.id] for index in open_])).tolist()
            for index, value in zip(open_, values, strict=True):
                scores[index][name] = Score(value, *_version(scorer), precision)

    @torch.inference_mode()
    def _recall(self, known: Remembered | None) -> dict[str, Score]:
        """The scores that are known, or that follow from embeddings that are known."""
        if known is None:
            return {}
        found: dict[str, Score] = {}
        stored = {embedding.encoder: embedding.vector for embedding in known.embeddings}
        for name, scorer in self._scorers.items():
            before = [score for score in known.scores if score.version == _version(scorer)]
            if before:
                found[name] = next((score for score in before if score.precision == _FULL), before[0])
            elif scorer.encoder.id in stored:
                value = float(scorer.rate(_unpacked(stored[scorer.encoder.id])[None])[0])
                found[name] = Score(value, *_version(scorer), _STORED)
        return found

    def _is_undecided(self, scores: Mapping[str, Score], precise: Precise, recalled: Mapping[str, Score]) -> bool:
        """Whether the formula may have another meaning in float32, or no number yet."""
        if any(name not in scores for name in self._scorers):
            return True
        if any(not math.isfinite(score.value) and score.precision != _FULL for score in scores.values()):
            return True
        errors = {
            name: self._error(name, scores[name], recorded=recalled.get(name) is scores[name])
            for name in self._formula.names
        }
        values = {name: score.value for name, score in scores.items()}
        return any(errors.values()) and precise.wants(*formula.between(self._formula, values, errors))

    def _error(self, name: str, score: Score | None, *, recorded: bool) -> float:
        """How far a score, or the one that its encoder would give, may be from float32's."""
        scorer = self._scorers[name]
        precision = score.precision if score is not None else scorer.encoder.precision
        if precision == _FULL:
            return 0.0
        error = scorer.slope * scorer.encoder.half_error * (_RECORDED_FACTOR if recorded else 1)
        return error + (_STORED_ERROR if precision == _STORED else 0)

    def embed_words(self, words: str) -> tuple[Embedding, ...]:
        """By every encoder that knows words. Raises ModelDamaged for weights without them."""
        knowing = [encoder for encoder in self.encoders.values() if isinstance(encoder, WordEncoder)]
        return tuple(Embedding(encoder.id, _packed(encoder.embed_words(words))) for encoder in knowing)

    def judge(self, images: Sequence[Image.Image]) -> list[Judgement]:
        """RGB images to judgements, at once. Raises ScoreFailed."""
        found = []
        for judgement in self.finish(self.start([self.look(image) for image in images])):
            if isinstance(judgement, ScoreFailed):
                raise judgement
            found.append(judgement)
        return found

    def _combine(self, scores: Mapping[str, Score], new: Mapping[str, torch.Tensor]) -> Judgement | ScoreFailed:
        silent = next((score for score in scores.values() if not math.isfinite(score.value)), None)
        if silent is not None:
            return ScoreFailed(f"scorer '{silent.scorer}' gave no number", "look at the picture")
        embeddings = tuple(Embedding(id_, _packed(row)) for id_, row in new.items())
        of = self._formula
        if of.is_plain:
            main = scores[of.names[0]]
            parts = tuple(score for name, score in scores.items() if name != of.names[0])
            return Judgement(main, parts, embeddings)
        used = [scores[name] for name in of.names]
        combined = Score(
            of.value({name: score.value for name, score in scores.items()}),
            told(of.text),
            hashlib.sha256("".join(score.weights_sha256 for score in used).encode()).hexdigest(),
            " | ".join(dict.fromkeys(score.preprocessing for score in used)),
            " | ".join(dict.fromkeys(score.precision for score in used)),
        )
        return Judgement(combined, tuple(scores.values()), embeddings)


def _version(scorer: Scorer) -> tuple[str, str, str]:
    return scorer.name, scorer.weights_sha256, scorer.encoder.preprocessing


def _packed(row: torch.Tensor) -> str:
    return packed(row.numpy())


def packed(row: NDArray[np.float32]) -> str:
    """An embedding as it is recorded: float16, in base64."""
    return base64.b64encode(row.astype("<f2").tobytes()).decode()


def _unpacked(vector: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(vector), "<f2").astype(np.float32))
