"""The scorers that judge together: those of the gate's formula, and those beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from hotfolder.core import formula
from hotfolder.core.tastes import told
from hotfolder.engines.device import pick_dtype
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.base import Bench, Encoder, PromptedScorer, Scorer, View, WordEncoder
from hotfolder.engines.scoring.looks import (
    DEVICES_OWN,
    FULL,
    Look,
    error_of,
    forget,
    packed,
    rate,
    recall,
    view_again,
)
from hotfolder.engines.scoring.runner import Runner
from hotfolder.engines.scoring.taste import TasteScorer
from hotfolder.engines.transfer import Fetched
from hotfolder.errors import NoPrompt, ScoreFailed
from hotfolder.models.registry import Catalogue
from hotfolder.types import Embedding, Kind, Precise, Remembered, RunnerSettings, Score


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
    fresh: Mapping[str, Fetched]  # encoder id -> (m, d), for the m looks that have a view


class ScorerEnsemble:
    """Loaded scorers. Each encoder looks at a picture once, however many scorers read it."""

    def __init__(self, text: str, scorers: Mapping[str, Scorer | PromptedScorer], device: torch.device) -> None:
        """`text` is the gate's formula of these scorers' names."""
        self._formula = formula.parse(text)
        self._scorers = scorers
        self._prompted = [name for name, scorer in scorers.items() if isinstance(scorer, PromptedScorer)]
        self.encoders: dict[str, Encoder] = {s.encoder.id: s.encoder for s in scorers.values()}
        self.runners = {id_: Runner(encoder, device) for id_, encoder in self.encoders.items()}
        #: Whether `start` returns while the device works: looks can be made ready meanwhile.
        self.is_ahead = device.type == "cuda"

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

    @property
    def reads_prompts(self) -> bool:
        """Whether a scorer of it judges pictures by their prompts."""
        return bool(self._prompted)

    def silent(self, prompt: str | None) -> list[str]:
        """The scorers beside the gate's that say nothing of a picture with this prompt."""
        return [] if prompt else [name for name in self._prompted if name not in self._formula.names]

    def _judges(self, prompt: str | None) -> dict[str, Scorer]:
        """The scorers that can judge a picture of this prompt."""
        found: dict[str, Scorer] = {}
        for name, scorer in self._scorers.items():
            if not isinstance(scorer, PromptedScorer):
                found[name] = scorer
            elif prompt:
                found[name] = scorer.with_prompt(prompt)
        return found

    def missing(
        self, known: Remembered | None, precise: Precise = DEVICES_OWN, prompt: str | None = None
    ) -> list[Encoder]:
        """The encoders that have to see a picture about which this is known."""
        judges = self._judges(prompt)
        views, spare = self._needed(judges, recall(known, judges), precise)
        return [encoder for id_, encoder in self.encoders.items() if id_ in views | spare]

    def _needed(
        self, judges: Mapping[str, Scorer], recalled: Mapping[str, Score], precise: Precise
    ) -> tuple[set[str], set[str]]:
        """Ids of encoders: whose embedding is not known, and which may have to see the picture in float32."""
        views = {s.encoder.id for name, s in judges.items() if name not in recalled}
        spare: set[str] = set()
        of_gate = [(name, judges[name]) for name in self._formula.names if name in judges]
        if views or self._is_undecided(judges, recalled, precise, recalled):
            unsure = [judge for name, judge in of_gate if error_of(judge, recalled.get(name), recorded=True)]
            spare = {judge.encoder.id for judge in unsure} if precise != DEVICES_OWN else set()
        if precise.at_least == -math.inf:
            # All in float32, so not in half precision first.
            at_once = {id_ for id_ in views if self.encoders[id_].precision != FULL}
            return views - at_once, spare | at_once
        return views, spare - views

    def look(
        self,
        image: Image.Image | None,
        known: Remembered | None = None,
        precise: Precise = DEVICES_OWN,
        prompt: str | None = None,
    ) -> Look:
        """Prepares an RGB image; None when nothing is missing. For threads ahead of the device.

        Raises NoPrompt where the gate's formula cannot do without one.
        """
        judges = self._judges(prompt)
        wanting = [name for name in self._formula.names if name not in judges]
        if wanting:
            raise NoPrompt(
                f"scorer '{wanting[0]}' judges a picture by its prompt, and none is known of this one",
                f"hotfolder score takes --prompt; in a root, leave '{wanting[0]}' out of gate.score where pictures "
                "without a prompt are dropped, and name it in score.scorer",
            )
        recalled = recall(known, judges)
        views, spare = self._needed(judges, recalled, precise)
        prepared: dict[str, View] = {}
        if views | spare:
            assert image is not None
            prepared = {id_: e.prepare(image) for id_, e in self.encoders.items() if id_ in views | spare}
        own, more = ({id_: view for id_, view in prepared.items() if id_ in ids} for ids in (views, spare))
        return Look(own, more, recalled, precise, scorers=judges)

    def start(self, looks: Sequence[Look]) -> Started:
        """Sends views to the device without waiting for it."""
        fresh = {}
        for id_, runner in self.runners.items():
            views = [look.views[id_] for look in looks if id_ in look.views]
            if views:
                fresh[id_] = Fetched(runner.run(views))
        return Started(tuple(looks), fresh)

    @torch.inference_mode()
    def finish(self, started: Started) -> list[Judgement | ScoreFailed]:
        """Waits for the device; a judgement for each look, or why there is none.

        Where a look asks for it, scores that decide nothing for certain are taken again in float32.
        """
        rows = {id_: iter(found.wait()) for id_, found in started.fresh.items()}
        new: list[dict[str, torch.Tensor]] = [
            {id_: next(rows[id_]) for id_ in look.views} for look in started.looks
        ]
        scores = [dict(look.recalled) for look in started.looks]
        looks = started.looks
        for id_, encoder in self.encoders.items():
            rate(looks, scores, new, [i for i, each in enumerate(new) if id_ in each], encoder, encoder.precision)
        undecided = [
            index
            for index, look in enumerate(looks)
            if self._is_undecided(look.scorers, scores[index], look.precise, look.recalled)
        ]
        for id_, runner in self.runners.items():
            views = {i: v for i in undecided if (v := view_again(looks[i], id_, scores[i])) is not None}
            if views:
                found = runner.run(list(views.values()), precisely=True).cpu()
                for index, row in zip(views, found, strict=True):
                    new[index][id_] = row
                    forget(looks[index], scores[index], id_)
                rate(looks, scores, new, list(views), self.encoders[id_], FULL)
        return [self._combine(each, found) for each, found in zip(scores, new, strict=True)]

    def _is_undecided(
        self,
        judges: Mapping[str, Scorer],
        scores: Mapping[str, Score],
        precise: Precise,
        recalled: Mapping[str, Score],
    ) -> bool:
        """Whether the formula may have another meaning in float32, or no number yet."""
        if any(name not in scores for name in (*judges, *self._formula.names)):
            return True
        if any(not math.isfinite(score.value) and score.precision != FULL for score in scores.values()):
            return True
        errors = {
            name: error_of(judges[name], scores[name], recorded=recalled.get(name) is scores[name])
            for name in self._formula.names
        }
        values = {name: score.value for name, score in scores.items()}
        return any(errors.values()) and precise.wants(*formula.between(self._formula, values, errors))

    def embed_words(self, words: str) -> tuple[Embedding, ...]:
        """By every encoder that knows words. Raises ModelDamaged for weights without them."""
        knowing = [encoder for encoder in self.encoders.values() if isinstance(encoder, WordEncoder)]
        return tuple(Embedding(encoder.id, packed(encoder.embed_words(words).numpy())) for encoder in knowing)

    def judge(self, images: Sequence[Image.Image], prompt: str | None = None) -> list[Judgement]:
        """RGB images, of one prompt, to judgements, at once. Raises ScoreFailed and NoPrompt."""
        found = []
        for judgement in self.finish(self.start([self.look(image, prompt=prompt) for image in images])):
            if isinstance(judgement, ScoreFailed):
                raise judgement
            found.append(judgement)
        return found

    def _combine(self, scores: Mapping[str, Score], new: Mapping[str, torch.Tensor]) -> Judgement | ScoreFailed:
        silent = next((score for score in scores.values() if not math.isfinite(score.value)), None)
        if silent is not None:
            return ScoreFailed(f"scorer '{silent.scorer}' gave no number", "look at the picture")
        embeddings = tuple(Embedding(id_, packed(row.numpy())) for id_, row in new.items())
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
