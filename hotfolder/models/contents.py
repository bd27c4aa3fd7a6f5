"""Models as another machine is told of them: by what they hold, not by where they lie or what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.core.tastes import head_of
from hotfolder.errors import HotfolderError, ModelMissing, UsageError
from hotfolder.models.fingerprint import Piece, identity, pieces
from hotfolder.models.registry import ENCODER, Catalogue, ModelSpec
from hotfolder.types import Kind

#: Digits of a sha256 that people are shown.
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Need:
    """A model that work cannot do without."""

    name: str  # or a path
    kind: str  # one of hotfolder.types.Kind, or of the kinds of hotfolder.models.registry
    with_twin: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model; `name` is below the model's folder."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Content:
    """A model, whatever machine it is on: plain data."""

    need: Need
    identity: str  # see hotfolder.models.fingerprint.identity
    files: tuple[File, ...]  # its own
    entry: Mapping[str, Any] | None = None  # a ModelEntry's fields, where only one machine's records have them
    is_loose: bool = False  # it is known by the name of its file alone
    is_builtin: bool = False
    is_pullable: bool = False

    @property
    def is_taste(self) -> bool:
        """Whether it was learnt of a person."""
        return self.need.kind == Kind.SCORE and head_of(self.need.name) is not None

    @property
    def is_sendable(self) -> bool:
        """Whether another machine can keep it where its name is looked for; a path is of one machine."""
        return bool(self.files) and not self.is_builtin and not PurePosixPath(self.need.name).is_absolute()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Held:
    """A model that is on this machine."""

    content: Content
    pieces: tuple[Piece, ...]


def held(need: Need, catalogue: Catalogue, cache: Path | None = None) -> Iterator[Held]:
    """The model with those that it needs, those first. May read all their files, once: see `fingerprint.pieces`.

    Raises ModelMissing, UsageError and ModelDamaged as `Catalogue.resolve`, OSError.
    """
    spec = catalogue.resolve(need.name, need.kind, with_twin=need.with_twin)
    yield from _held(need, spec, catalogue, cache)


def _held(need: Need, spec: ModelSpec, catalogue: Catalogue, cache: Path | None) -> Iterator[Held]:
    if spec.loader == "taste":
        from hotfolder.models import taste_heads  # NumPy: only where it is used

        prior = taste_heads.read(spec.files[0].path).facts.prior
        yield from held(Need(prior, Kind.SCORE), catalogue, cache)
    entry = catalogue.entry(need.name)
    base = os.path.expanduser(entry.base) if entry is not None and entry.base else ""  # noqa: PTH111
    for other, name, kind in (
        (spec.encoder, "", ENCODER), (spec.twin, "", need.kind), (spec.base, base, need.kind),
    ):  # fmt: skip
        if other is not None:
            yield from _held(Need(name or other.name, kind), other, catalogue, cache)
    found = pieces(spec, cache)
    files = tuple(File(piece.name, piece.path.stat().st_size, piece.sha256) for piece in found)
    known = entry.model_dump(mode="json") if entry is not None and catalogue.is_linked(need.name) else None
    content = Content(
        need, identity(spec, cache, found), files, known, is_loose=entry is None,
        is_builtin=entry is not None and entry.builtin, is_pullable=entry is not None and entry.is_pullable,
    )  # fmt: skip
    yield Held(content, found)


class Presence(StrEnum):
    """Whether a machine has a model."""

    HERE = "here"
    ABSENT = "absent"
    OTHER = "other"  # something else is called so there


def presence(content: Content, catalogue: Catalogue, cache: Path | None = None) -> tuple[Presence, str]:
    """Of a content on this machine, and, unless it is here, a sentence for people: 'it lacks …'.

    May read all files of the model, once.
    """
    need = content.need
    try:
        found = identity(catalogue.resolve(need.name, need.kind, with_twin=need.with_twin), cache)
    except ModelMissing:
        return Presence.ABSENT, _lacks(content)
    except UsageError as error:
        if catalogue.entry(need.name) is None:
            return Presence.ABSENT, _lacks(content)
        return Presence.OTHER, f"it has something else that is called '{need.name}': {error.message}"
    except (HotfolderError, OSError) as error:
        return Presence.OTHER, f"its '{need.name}' cannot be used: {error}"
    if found == content.identity:
        return Presence.HERE, ""
    return Presence.OTHER, (
        f"its '{need.name}' is another model than the daemon's (sha256 {found[:_SHOWN]}… there, "
        f"{content.identity[:_SHOWN]}… here): put the same one there, or take that one away"
    )


def _lacks(content: Content) -> str:
    name = content.need.name
    if content.is_builtin:
        return f"it lacks the built-in model '{name}': install hotfolder there again"
    if not content.is_sendable:
        return f"it lacks {name}: put it there, at the same place"
    how = f"pull it there with: hotfolder models pull {name}" if content.is_pullable else "put it there"
    return f"it lacks the model '{name}': {how}, or set models.auto_pull = true"
