"""The scorers that judge together: those of the gate's formula, and those beside it."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from hotfolder.core import formula
from hotfolder.core.microbatch import Sizing, halved, timed
from hotfolder.engines.device import is_out_of_memory, pick_dtype, precision_name
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.base import Bench, Encoder, Scorer, View
from hotfolder.errors import ScoreFailed
from hotfolder.models.registry import Catalogue
from hotfolder.types import Embedding, Kind, Remembered, RunnerSettings, Score

#: Sizes tried first: on a CPU one image keeps all cores busy.
_FIRST_CUDA, _FIRST_CPU = 8, 1


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as far as it has to be looked at: a view for each encoder whose embedding is not known."""

    known: Remembered | None = None
    views: Mapping[str, View] = field(default_factory=dict)  # encoder id -> view


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the panel says about one picture."""

    score: Score
    parts: tuple[Score, ...]
    embeddings: tuple[Embedding, ...]  # those that were not known


class Runner:
    """Takes any number of views through one encoder, in micro-batches that suit the device."""

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        first = _FIRST_CUDA if device.type == "cuda" else _FIRST_CPU
        self.sizing = Sizing(min(first, encoder.largest_batch), encoder.largest_batch)

    def run(self, views: Sequence[View]) -> torch.Tensor:
        """(n, d) float32 on the device. Out of memory: the micro-batch is halved and done again, none is lost."""
        done: list[torch.Tensor] = []
        at = 0
        while at < len(views):
            part = views[at : at + self.sizing.size]
            started = time.perf_counter()
            embedded = None
            try:
                embedded = self._encoder.embed(part)
                if not self.sizing.settled and self._device.type == "cuda":
                    torch.cuda.synchronize(self._device)  # only while the best size is being looked for
            except Exception as error:
                smaller = halved(self.sizing) if is_out_of_memory(error) else None
                if smaller is None:
                    raise
                self.sizing = smaller
            if embedded is None:
                # Out here, where the error and the activations in its frames are gone.
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            self.sizing = timed(self.sizing, len(part), time.perf_counter() - started)
            done.append(embedded)
            at += len(part)
        return torch.cat(done)


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
        catalogue = Catalogue(settings.model_folders, settings.model_entries)
        scorers = {n: load_scorer(catalogue.resolve(n, Kind.SCORE), bench) for n in names}
        return cls(text, scorers, device)

    @property
    def batch_size(self) -> int:
        """How many looks are worth starting together."""
        return max(runner.sizing.size for runner in self.runners.values())

    def missing(self, known: Remembered | None) -> list[Encoder]:
        """The encoders that have to see a picture about which this is known."""
        if known is None:
            return list(self.encoders.values())
        there = {embedding.encoder for embedding in known.embeddings}
        scored = {score.version for score in known.scores}
        needed = {s.encoder.id for s in self._scorers.values() if _version(s) not in scored}
        return [encoder for id_, encoder in self.encoders.items() if id_ in needed - there]

    def look(self, image: Image.Image | None, known: Remembered | None = None) -> Look:
        """Prepares an RGB image; None when nothing is missing. For threads ahead of the device."""
        wanted = self.missing(known)
        assert image is not None or not wanted
        return Look(known, {e.id: e.prepare(image) for e in wanted} if image is not None else {})

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
        """Waits for the device; a judgement for each look, or why there is none."""
        fresh = {id_: iter(rows.cpu()) for id_, rows in started.fresh.items()}
        new: list[dict[str, torch.Tensor]] = [
            {id_: next(fresh[id_]) for id_ in look.views} for look in started.looks
        ]
        scores: list[dict[str, Score]] = [{} for _ in started.looks]
        for name, scorer in self._scorers.items():
            id_, version = scorer.encoder.id, _version(scorer)
            rows, where = [], []
            for index, look in enumerate(started.looks):
                before = next((s for s in look.known.scores if s.version == version), None) if look.known else None
                if before is not None:
                    scores[index][name] = before
                    continue
                stored = None if id_ in new[index] else _stored(look, id_)
                rows.append(new[index][id_] if stored is None else stored)
                where.append((index, scorer.encoder.precision if stored is None else _STORED))
            if rows:
                values = scorer.rate(torch.stack(rows)).tolist()
                for (index, precision), value in zip(where, values, strict=True):
                    scores[index][name] = Score(value, *version, precision)
        return [self._combine(each, rows) for each, rows in zip(scores, new, strict=True)]

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
            of.text,
            hashlib.sha256("".join(score.weights_sha256 for score in used).encode()).hexdigest(),
            " | ".join(dict.fromkeys(score.preprocessing for score in used)),
            " | ".join(dict.fromkeys(score.precision for score in used)),
        )
        return Judgement(combined, tuple(scores.values()), embeddings)


#: How the precision of a score from a stored embedding is called.
_STORED = f"stored-{precision_name(torch.float16)}"


def _version(scorer: Scorer) -> tuple[str, str, str]:
    return scorer.name, scorer.weights_sha256, scorer.encoder.preprocessing


def _packed(row: torch.Tensor) -> str:
    return base64.b64encode(row.numpy().astype("<f2").tobytes()).decode()


def _stored(look: Look, encoder: str) -> torch.Tensor:
    assert look.known is not None
    text = next(embedding.vector for embedding in look.known.embeddings if embedding.encoder == encoder)
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32))
