"""All settings together, and what each part of the line needs of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from hotfolder.config.sections.base import Section
from hotfolder.config.sections.files import OutputSettings, SettleSettings, WatchSettings
from hotfolder.config.sections.generation import GenerateSettings
from hotfolder.config.sections.inboxes import InboxSettings
from hotfolder.config.sections.machine import ExecutorSettings, ModelSettings, RetrySettings
from hotfolder.config.sections.notifications import HookSettings, MetricsSettings, NotifySettings
from hotfolder.config.sections.person import GallerySettings, TasteSettings
from hotfolder.config.sections.scoring import GateSettings, ScoreSettings
from hotfolder.config.sections.upscaling import UpscaleSettings
from hotfolder.core import formula, tastes
from hotfolder.core.batching import BatchPolicy
from hotfolder.core.gate import Gate
from hotfolder.core.retry import RetryPolicy
from hotfolder.core.settle import SettlePolicy
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.models.entry import ModelEntry
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings

#: The scorer that is always there.
TECHNICAL = "technical"


class Settings(Section):
    """Everything in hotfolder.toml."""

    gate: GateSettings = GateSettings()
    generate: GenerateSettings = GenerateSettings()
    score: ScoreSettings = ScoreSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    settle: SettleSettings = SettleSettings()
    watch: WatchSettings = WatchSettings()
    executor: ExecutorSettings = ExecutorSettings()
    retry: RetrySettings = RetrySettings()
    output: OutputSettings = OutputSettings()
    models: ModelSettings = ModelSettings()
    hooks: HookSettings = HookSettings()
    notify: NotifySettings = NotifySettings()
    gallery: GallerySettings = GallerySettings()
    taste: TasteSettings = TasteSettings()
    metrics: MetricsSettings = MetricsSettings()
    inbox: tuple[InboxSettings, ...] = Field((), description="Inboxes beside the three that are always there.")
    model: tuple[ModelEntry, ...] = Field(
        (), description="Models that the registry does not know, or knows otherwise."
    )

    def catalogue(self) -> Catalogue:
        """Every model that can be named."""
        return Catalogue(self.models.folders, [entry.model_dump() for entry in self.model])

    @property
    def inboxes(self) -> dict[str, Kind]:
        """The name of each folder in inbox/, and what is done with the files in it."""
        return {**{kind.value: kind for kind in Kind}, **{own.name: Kind(own.kind) for own in self.inbox}}

    @property
    def holds_secrets(self) -> bool:
        """Whether something is set that may hold passwords."""
        return any(
            getattr(getattr(self, name), key)
            for name, section in sections()
            for key, field in section.model_fields.items()
            if not field.repr
        )

    def overridden(self, changes: Mapping[str, Mapping[str, Any]]) -> Settings:
        """The same settings with other values in some sections. Raises pydantic's ValidationError."""
        update: dict[str, Section] = {}
        for name, values in changes.items():
            section: Section = getattr(self, name)
            if values:
                merged = {**section.model_dump(), **values}
                # As strict as the root's file: see config.load.
                update[name] = type(section).model_validate_json(as_json(merged), strict=True)
        return self.model_copy(update=update)

    def gate_policy(self) -> Gate:
        g = self.gate
        upscale = math.inf if g.upscale == "never" else g.upscale
        return Gate(g.keep, upscale, g.regenerate_below, g.max_attempts, g.max_seconds)

    def settle_policy(self) -> SettlePolicy:
        s = self.settle
        return SettlePolicy(s.quiet_seconds, s.quiet_seconds_without_lease, s.incomplete_grace_seconds)

    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.retry.max_attempts,
            backoff_seconds=self.retry.backoff_seconds,
            max_deaths=self.retry.max_deaths,
            pause_seconds=self.retry.pause_seconds,
            incomplete_grace_seconds=self.settle.incomplete_grace_seconds,
        )

    def batch_policy(self) -> BatchPolicy:
        sizes = {Kind.GENERATE: self.generate.batch_size, Kind.SCORE: self.score.batch_size, Kind.UPSCALE: 4}
        return BatchPolicy(sizes, self.executor.fairness_seconds)

    def runner(self, database: Path | None = None) -> RunnerSettings:
        """What a worker has to know; with `database`, what was judged before is looked up there."""
        known = {**self.upscale.model_dump(), **self.score.model_dump(), **self.executor.model_dump()}
        wanted = {field.name for field in fields(RunnerSettings)}
        return RunnerSettings(
            **{key: value for key, value in known.items() if key in wanted},
            model_folders=self.models.folders,
            model_entries=tuple(entry.model_dump() for entry in self.model),
            auto_pull=self.models.auto_pull,
            scorers=self.score.scorers,
            memory=self.generate.memory,
            draw_together=self.generate.batch_size,
            attention=self.generate.attention,
            cache=self.generate.cache,
            cache_threshold=self.generate.cache_threshold,
            channels_last=self.generate.channels_last,
            image_format=self.generate.format,
            database=str(database) if database else None,
            tastes=str(Layout(database.parent).tastes) if database else None,
        )

    def judged_by(self, scorer: str) -> Settings:
        """The same settings with this scorer, or formula, instead of the configured ones.

        Raises UsageError for a formula that is not understood.
        """
        try:
            is_path = os.path.isabs(scorer) and os.path.isfile(scorer)  # noqa: PTH113, PTH117 - never raise
            wanted = formula.of(scorer) if is_path else formula.parse(scorer)
        except formula.FormulaError as error:
            raise UsageError(
                f"the scorer '{scorer}' was not understood: {error}",
                "name one, or write 0.8*laion-v2 + 0.2*technical",
            ) from None
        others = tuple(name for name in wanted.names if name != tastes.TASTE) or self.score.scorers
        return self.model_copy(
            update={
                "gate": self.gate.model_copy(update={"score": wanted.text}),
                "score": self.score.model_copy(update={"scorer": others}),
            }
        )

    def asked(
        self, section: str, changes: Mapping[str, Any], options: Mapping[str, str] = MappingProxyType({})
    ) -> Settings:
        """The same settings with what a command line asks for in a section. Raises UsageError where it may not be.

        `options` are the names of options that are not those of their keys.
        """
        try:
            return self.overridden({section: changes})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = str(problem["loc"][0]) if problem["loc"] else section
            known = type(getattr(self, section)).model_fields
            raise UsageError(
                f"--{options.get(key, key)} {problem['input']}: {problem['msg'].removeprefix('Value error, ')}",
                known[key].description or "" if key in known else "",
            ) from None

    def models_needed(self) -> list[tuple[Kind, str]]:
        """Every model that work may ask for, unless a prompt file names another."""
        scorers = dict.fromkeys((*formula.parse(self.default_model(Kind.SCORE)).names, *self.score.scorers))
        return [
            (Kind.GENERATE, self.generate.model),
            *((Kind.SCORE, name) for name in scorers),
            (Kind.UPSCALE, self.upscale.model),
        ]

    def groups_needed(self) -> list[tuple[Kind, str]]:
        """The same by what jobs are batched by: for scoring, the formula."""
        return [(kind, self.default_model(kind)) for kind in Kind]

    def default_model(self, kind: Kind) -> str:
        """The model that does this kind of work where nothing else is asked for; for scoring, the formula."""
        return {
            Kind.GENERATE: self.generate.model,
            Kind.SCORE: self.judging(None),
            Kind.UPSCALE: self.upscale.model,
        }[kind]

    def judging(self, head: str | None) -> str:
        """The formula that the gate looks at with this head of a taste; without one, `taste` is the prior."""
        return tastes.judging(self.formula, self.prior, head)

    @property
    def prior(self) -> str:
        """The scorer beside which taste is learnt: the first that the gate looks at."""
        names = (*formula.parse(self.formula).names, *self.score.scorers)
        return next((name for name in names if name != tastes.TASTE and tastes.head_of(name) is None), TECHNICAL)

    @property
    def formula(self) -> str:
        """What the gate looks at, as people write it: `taste` may be in it."""
        return self.gate.score or formula.of(self.score.scorers[0]).text


def as_json(document: Mapping[str, Any]) -> str:
    """A TOML document as JSON; dates become tables, so that no text is what was none."""
    return json.dumps(document, default=lambda value: {"a date": str(value)})


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Name and class of each section that is a single table."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


#: The arrays of tables: [[inbox]], [[model]].
ARRAYS: Mapping[str, type[Section] | type[ModelEntry]] = {"inbox": InboxSettings, "model": ModelEntry}


#: What a daemon that runs goes on without: it looks at these when it starts.
_AT_THE_START = {"executor": ("kind", "devices", "address"), "output": ("umask",)}


def differences(before: Settings, after: Settings) -> list[str]:
    """What has changed, a line for each key: 'gate.keep: 6.5 -> 7.0', and when that holds where not at once."""
    found = []
    for name, section in sections():
        old, new = getattr(before, name), getattr(after, name)
        for key, field in section.model_fields.items():
            was, is_ = getattr(old, key), getattr(new, key)
            if was != is_:
                what = f"{was!r} -> {is_!r}" if field.repr else "changed"
                found.append(f"{name}.{key}: {what}{_when(name, key)}")
    for name in ARRAYS:
        there = {each.name: each for each in getattr(before, name)}
        now = {each.name: each for each in getattr(after, name)}
        found += [f"[[{name}]] {each}: new" for each in now.keys() - there.keys()]
        found += [f"[[{name}]] {each}: gone" for each in there.keys() - now.keys()]
        found += [f"[[{name}]] {each}: changed" for each in now.keys() & there.keys() if now[each] != there[each]]
    return found


def _when(section: str, key: str) -> str:
    if section == "gallery":
        return " (when the gallery starts next)"
    return " (when the daemon starts next)" if key in _AT_THE_START.get(section, ()) else ""
