"""Which settings hold for which dropped file: the root's, its inbox's, and those of its sub-folders."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hotfolder.config import loading
from hotfolder.config.lines import Lines
from hotfolder.config.root import FILE_NAME
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import Settings
from hotfolder.core.routing_policy import RoutingPolicy
from hotfolder.core.tastes import has_head
from hotfolder.errors import ConfigError, HotfolderError, gathered, raise_all
from hotfolder.files.beneath import open_below
from hotfolder.folders.layout import INBOX
from hotfolder.models.registry import Catalogue
from hotfolder.taste.in_use import InUse
from hotfolder.types import Kind, UpscaleParams

log = logging.getLogger(__name__)
#: Settings that are remembered, one for each folder with files of its own.
_MOST_MADE = 1000
#: So long a mistake is not looked for again: hundreds of files may lie beside it. Not for ever: a model may come.
_FAILED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Read:
    """A sub-folder's file as it was read last."""

    stamp: tuple[int, ...] | None
    document: Mapping[str, Any]
    problem: ConfigError | None = None


@dataclass(frozen=True, slots=True)
class _Merged:
    """The settings for some files, and what the line needs of them: made once, and asked for with every file."""

    settings: Settings
    policy: RoutingPolicy


def _merge(settings: Settings, priority: int = 0, head: str | None = None) -> _Merged:
    upscaling = UpscaleParams(settings.upscale.scale, settings.upscale.format)
    models = {kind: settings.default_model(kind) for kind in Kind}
    models[Kind.SCORE] = settings.judging(head)
    rest = settings.gate.rest_of_best == "gate"
    policy = RoutingPolicy(
        settings.gate_policy(), models, upscaling, settings.upscale.min_gain, priority, rest_through_gate=rest
    )
    return _Merged(settings, policy)


class FolderSettings:
    """`of_root` are the root's; they can be changed while it works. Files in sub-folders are read as they are met.

    `doubtful` are sections of the root's that are wrong: see `loading.overridden`.
    """

    def __init__(self, root: Path, settings: Settings, doubtful: Collection[str] = ()) -> None:
        self._root = root
        self._doubtful = doubtful
        self._files: dict[str, _Read] = {}
        self.tastes = InUse(root)
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """From now on, the root's settings are others."""
        self.of_root = settings
        self.catalogue: Catalogue = settings.catalogue()
        self._own = {inbox.name: inbox for inbox in settings.inbox}
        self._plain = _merge(settings)
        self._made: dict[tuple[tuple[str, ...], bool], _Merged] = {}
        self._failed: dict[tuple[str, ...], tuple[float, ConfigError]] = {}

    def of(self, source_file: str) -> Settings:
        """The settings for a file, by its path relative to the root.

        Raises ConfigError, naming file and key, with all that is wrong in the files that hold for it.
        """
        try:
            return self._merged(source_file, lenient=False).settings
        except HotfolderError:
            raise
        except Exception as error:
            # Whoever may drop files may write anything into one of that name: it must not stop the daemon.
            log.warning("the settings for %s: unexpected %s", source_file, type(error).__name__, exc_info=error)
            raise ConfigError(f"the settings for {source_file} cannot be used: {error}", "simplify them") from None

    def policy(self, source_file: str) -> RoutingPolicy:
        """The same for what was taken already: files that cannot be read now count as they were read last."""
        try:
            return self._merged(source_file, lenient=True).policy
        except Exception as error:
            log.warning("the settings for %s: unexpected %s", source_file, type(error).__name__, exc_info=error)
            return self._plain.policy

    def keep_at(self, source_file: str | None) -> float:
        """From which score on the gate keeps what comes of a dropped file, or of none."""
        return self.policy(source_file or "").gate.keep

    def prior(self, source_file: str | None) -> str:
        """The scorer beside which taste is learnt of what comes of a dropped file."""
        return self._merged(source_file or "", lenient=True).settings.prior

    def is_own_model(self, kind: Kind, model: str) -> bool:
        """Whether work of a kind is done by it because the root's settings say so, or a taste that is in use."""
        return model == self.of_root.default_model(kind) or (kind is Kind.SCORE and has_head(model))

    def _merged(self, source_file: str, *, lenient: bool) -> _Merged:
        parts = source_file.split("/")
        if len(parts) < 3 or parts[0] != INBOX:
            return self._plain
        folders = ["/".join(parts[:end]) for end in range(2, len(parts))]
        found = {folder: self._read(f"{folder}/{FILE_NAME}") for folder in folders}
        head = self.tastes.head(parts[1])
        stamps = (f"{f}:{read.stamp}" for f, read in found.items() if read.document or read.problem)
        key = (parts[1], head or "", *stamps)
        if (key, lenient) in self._made:
            return self._made[key, lenient]
        failed_at, failure = self._failed.get(key, (float("-inf"), None))
        if failure is not None and not lenient and time.monotonic() - failed_at < _FAILED_SECONDS:
            raise failure
        settings = self.of_root
        if len(self._made) > _MOST_MADE:
            self._made.clear()
            self._failed.clear()
        own = self._own.get(parts[1])
        if own is not None:
            settings = settings.overridden(own.changes)
        wrong: list[ConfigError] = []
        doubtful = self._doubtful
        for folder, read in found.items():
            try:
                if read.problem is not None and not lenient:
                    raise read.problem
                settings = self._with(settings, read.document, f"{folder}/{FILE_NAME}", doubtful)
            except ConfigError as error:
                wrong.append(error)
                doubtful = {*doubtful, *OVERRIDES}  # of what lies deeper, nobody knows what it goes with
        if wrong and not lenient:
            failure = gathered(wrong)
            self._failed[key] = (time.monotonic(), failure)
            raise failure
        self._made[key, lenient] = merged = _merge(settings, own.priority if own is not None else 0, head)
        return merged

    def _with(
        self, settings: Settings, document: Mapping[str, Any], where: str, doubtful: Collection[str]
    ) -> Settings:
        """Raises ConfigError; what was dropped may name no model outside of the folders for models."""
        lines = Lines(where, self._root / where, partial(open_below, self._root))
        changed = loading.overridden(settings, document, lines, doubtful=doubtful)
        wrong = []
        for kind, name in sorted(set(changed.models_needed()) - set(settings.models_needed())):
            try:
                self.catalogue.check_confined(name)
            except HotfolderError as error:
                wrong.append(ConfigError(f"{where}: {error.message}", error.fix, where=where))
                continue
            try:
                self.catalogue.resolve(name, kind)
            except HotfolderError as error:
                if loading.is_certain(error, doubtful):
                    wrong.append(ConfigError(f"{where}: {error.message}", error.fix, where=where))
        raise_all(wrong)
        return changed

    def _read(self, path: str) -> _Read:
        """A file of a sub-folder; one that became unreadable keeps what it said, and its problem beside it."""
        stamp = _stamp(f"{self._root}/{path}")
        before = self._files.get(path)
        if before is not None and before.stamp == stamp:
            return before
        try:
            opens = partial(open_below, self._root)
            found = _Read(stamp, loading.read(self._root / path, opens, path) if stamp else {})
        except FileNotFoundError:
            found = _Read(None, {})
        except ConfigError as error:
            found = _Read(stamp, before.document if before else {}, error)
        if found.stamp is None:
            self._files.pop(path, None)
        else:
            self._files[path] = found
        return found


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
