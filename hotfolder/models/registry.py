"""From a model's name, or a path, to files on this machine. Reads no weights."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli
from pydantic import ValidationError

from hotfolder.core.families import FAMILIES, family_called
from hotfolder.core.tastes import head_of
from hotfolder.errors import ModelDamaged, ModelMissing, UsageError
from hotfolder.home import user_folder
from hotfolder.models import records
from hotfolder.models.entry import FileEntry, ModelEntry, is_generator, is_weights
from hotfolder.models.family import family_of
from hotfolder.models.heads import encoder_for
from hotfolder.models.quantised import is_gguf
from hotfolder.types import Kind

log = logging.getLogger(__name__)
BUILTIN = Path(str(files("hotfolder.models"))) / "builtin"
#: The kind of models that turn pictures into embeddings, for scorers.
ENCODER = "encoder"
#: The kind of models that change a generator a little.
LORA = "lora"
#: The kind of files that give a word a meaning for a generator: textual inversions.
EMBEDDING = "embedding"
#: The kinds of files that a generator takes on: how messages call them, and the folder where people keep them.
_ADDED = {LORA: ("LoRA", "loras"), EMBEDDING: ("textual inversion", "embeddings")}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; `sha256` is None where no pinned value is known."""

    path: Path
    sha256: str | None = None

    def is_damaged(self) -> bool:
        """Reads it, and compares it with what is pinned. Raises OSError."""
        return self.sha256 is not None and sha256_of(self.path) != self.sha256


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is on this machine."""

    name: str
    kind: str  # one of hotfolder.types.Kind, or 'encoder'
    loader: str  # which code reads it
    folder: Path
    files: tuple[ModelFile, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    golden: Mapping[str, Any] = field(default_factory=dict)
    encoder: ModelSpec | None = None  # what turns a picture into what this model reads
    twin: ModelSpec | None = None  # the same network trained to keep noise; only where it was asked for
    base: ModelSpec | None = None  # of a generator that is one file: where its other parts come from
    family: str = ""  # of a generator: see hotfolder.core.families
    text_encoders: tuple[Path, ...] = ()  # of a generator: files in the place of parts of its folder, or its base

    def verify(self) -> str:
        """Checks each file that has a pinned sha256; gives the sha256 of the weights as a whole.

        For one file that is the file's own; for several, that of their concatenated hex digests in the order of
        the registry. Raises ModelDamaged.
        """
        digests = []
        for file in self.files:
            digest = sha256_of(file.path)
            if file.sha256 not in (None, digest):
                raise ModelDamaged(
                    f"{file.path} is not the file that '{self.name}' should be (sha256 {digest[:16]}…, expected "
                    f"{str(file.sha256)[:16]}…)",
                    "fetch it again from its source",
                )
            digests.append(digest)
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def loose_folder(kind: str) -> str:
    """Where files of this kind lie below a folder for models, which are known by their names alone."""
    return _ADDED[kind][1] if kind in _ADDED else "checkpoints"


def usual_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where models lie unless configured: `$XDG_DATA_HOME/hotfolder/models`."""
    return user_folder("XDG_DATA_HOME", ".local/share", "/usr/local/share", environ) / "hotfolder" / "models"


class Catalogue:
    """Every model that can be named: those of the registry, of the configuration, and linked ones.

    `entries` are fields of ModelEntry; one with a name of the registry takes its place.
    """

    def __init__(
        self,
        folders: Sequence[str] = (),
        entries: Sequence[Mapping[str, Any]] = (),
        tastes: Path | None = None,
    ) -> None:
        """`tastes` is the folder with what was learnt of a person, of one root."""
        self._folders = tuple(folders)
        self._tastes = tastes
        own = {entry.name: entry for entry in map(ModelEntry.model_validate, entries)}
        self._entries = {**_registry(), **own}

    def entry(self, name: str) -> ModelEntry | None:
        """What is known of this model; None for a name that is not."""
        found = self._entries.get(name)
        if found is None and _NAME.fullmatch(name):
            record = records.read(usual_folder(), name)
            return _linked_entry(record) if record else None
        return found

    def is_linked(self, name: str) -> bool:
        """Whether this machine's records alone know the model."""
        return name not in self._entries and self.entry(name) is not None

    def entries(self) -> list[ModelEntry]:
        """All of them: the registry's, the configuration's, then linked ones."""
        others = [record for record in records.read_all(usual_folder()) if record.name not in self._entries]
        linked = [entry for record in others if (entry := _linked_entry(record)) is not None]
        return [*self._entries.values(), *linked]

    def named_by(self, digest: str, kind: str) -> str | None:
        """The model of one file whose sha256 begins so, as far as that is known without reading any."""
        known = [(entry.name, [file.sha256 for file in entry.files]) for entry in self._entries.values()]
        known += [(each.name, [file.sha256 for file in each.files]) for each in records.read_all(usual_folder())]
        for name, digests in known:
            if len(digests) == 1 and str(digests[0]).startswith(digest):
                entry = self.entry(name)
                if entry is not None and entry.kind == kind:
                    return name
        return None

    def needs(self, name: str) -> list[ModelEntry]:
        """This model and those that it cannot do without, or is meant to work with. Raises UsageError."""
        entry = self.entry(name)
        if entry is None:
            raise UsageError(f"no model is called '{name}'", self._suggest(name, None))
        others = [other for other in (entry.encoder, entry.twin) if other]
        return [entry, *(found for other in others if (found := self.entry(other)))]

    def resolve(self, name: str, kind: str, *, with_twin: bool = False) -> ModelSpec:
        """The model of this name, or at this path, and its files on this machine.

        Its twin is looked for only `with_twin`: nobody needs it who does not ask for it.
        Raises UsageError for a name that is not known or is of another kind, ModelMissing for one whose files are
        not here.
        """
        if not name.isprintable():
            raise UsageError(f"{name!r} is no name of a model", f"Known are {self._names(kind)}")
        head = head_of(name)
        if head is not None and kind == Kind.SCORE and self._tastes is not None:
            return self._taste(name, head, self._tastes)
        entry = self.entry(name)
        if entry is None:
            return self._by_path(name, kind)
        if entry.kind != kind:
            raise UsageError(
                f"model '{name}' does not {kind}, it is for '{entry.kind}'", f"use one of {self._names(kind)}"
            )
        folder, files, golden = self._find(entry)
        spec = ModelSpec(
            name=name,
            kind=kind,
            loader=entry.read_by,
            folder=folder,
            files=files,
            defaults=entry.defaults,
            golden=golden,
            encoder=self.resolve(entry.encoder, ENCODER) if entry.encoder else None,
            twin=self.resolve(entry.twin, kind) if entry.twin and with_twin else None,
            base=self.resolve(os.path.expanduser(entry.base), kind) if entry.base else None,  # noqa: PTH111
            family=entry.family,
        )
        if entry.kind == "generate" and not entry.is_folder:
            own = tuple(file.path for file in files[1:] if is_gguf(file.path))
            spec = replace(spec, text_encoders=(*own, *(spec.base.text_encoders if spec.base and not own else ())))
        return _with_family(spec) if entry.kind == "generate" else spec

    def _taste(self, name: str, head: str, folder: Path) -> ModelSpec:
        """Raises ModelMissing."""
        from hotfolder.models import taste_heads  # NumPy: only where it is used

        path = taste_heads.path_of(folder, head)
        if not path.is_file():
            raise ModelMissing(f"the taste '{head}' is not there any more", "hotfolder taste use; or taste off")
        return ModelSpec(name, Kind.SCORE, "taste", folder, (ModelFile(path),))

    def check_confined(self, name: str) -> None:
        """Whether a file that was dropped may name this model: a path must lie below the declared folders.

        Raises UsageError, also for what leads out of them by links or '..'.
        """
        if not (os.path.isabs(name) or "/" in name) or not name.isprintable():  # noqa: PTH117 - never raise
            return  # no path; whether it is a name, `resolve` says
        real = os.path.realpath(name)
        folders = (*self._folders, str(usual_folder()))
        roots = [os.path.realpath(os.path.expanduser(folder)) for folder in folders]  # noqa: PTH111
        if os.path.isabs(name) and any(real.startswith(root + os.sep) for root in roots):  # noqa: PTH117
            return
        raise UsageError(
            f"the path {name} is not below the folders for models",
            "put it there, or add its folder to models.folders",
        )

    def find(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        """Its files on this machine, without the models it needs. Raises ModelMissing."""
        return self._find(entry)[1]

    def _find(self, entry: ModelEntry) -> tuple[Path, tuple[ModelFile, ...], Mapping[str, Any]]:
        if entry.builtin:
            manifest = _manifest(entry.name)
            folder = BUILTIN / entry.name
            pinned = [(file["path"], file.get("sha256")) for file in manifest.get("files", ())]
            if not all((folder / path).is_file() for path, _ in pinned):
                raise ModelMissing(f"the built-in model '{entry.name}' is incomplete", "reinstall hotfolder")
            return folder, tuple(ModelFile(folder / p, sha) for p, sha in pinned), manifest.get("golden", {})
        roots = [Path(os.path.expanduser(folder)) for folder in self._folders]  # noqa: PTH111
        record = records.read(usual_folder(), entry.name)
        for place in (
            *(root / entry.name for root in roots),
            None,
            usual_folder() / entry.name,
            *roots,
            usual_folder(),
        ):
            if place is None:  # what was fetched or linked: more is known of it than of what was put somewhere
                if record is not None and record.is_whole:
                    recorded = tuple(ModelFile(Path(file.path), file.sha256) for file in record.files)
                    return Path(record.folder), recorded, entry.golden
            elif all((place / file.path).is_file() for file in entry.files):
                files = tuple(ModelFile(place / file.path, self._pinned(entry, file)) for file in entry.files)
                return place, files, entry.golden
        raise self._missing(entry)

    def _pinned(self, entry: ModelEntry, file: FileEntry) -> str | None:
        """What a file that a person put there has to be: nothing, where it may come in several layouts."""
        return None if entry.kind == ENCODER else file.sha256

    def _missing(self, entry: ModelEntry) -> ModelMissing:
        wanted = " and ".join(file.path for file in entry.files)
        fetch = f"hotfolder models pull {entry.name}, or put it" if entry.is_pullable else "put it"
        return ModelMissing(
            f"model '{entry.name}' is not on this machine: no folder with {wanted}",
            f"{fetch} into {usual_folder() / entry.name}" + (f" (source: {entry.source})" if entry.source else ""),
        )

    def _by_path(self, name: str, kind: str) -> ModelSpec:
        path = self._loose(name, kind) or Path(name)
        # os.path answers False where Path.exists would raise: no permission, a name too long.
        if not path.is_absolute() or not os.path.exists(path):  # noqa: PTH110
            raise UsageError(
                f"no {_ADDED[kind][0] if kind in _ADDED else 'model'} is called '{name}'",
                f"{self._suggest(name, kind)}; or give an absolute path",
            )
        if kind == Kind.GENERATE and os.path.isfile(path / "model_index.json"):  # noqa: PTH113
            return _with_family(ModelSpec(path.name, kind, "diffusers", path, ()))
        is_known = is_generator(path.name) if kind == Kind.GENERATE else is_weights(path.name)
        if kind in (Kind.GENERATE, *_ADDED) and os.path.isfile(path) and is_known:  # noqa: PTH113
            loader = kind if kind in _ADDED else "single_file"
            spec = ModelSpec(path.stem, kind, loader, path.parent, (ModelFile(path),))
            return spec if kind in _ADDED else _with_family(spec)
        if kind == Kind.UPSCALE and os.path.isfile(path):  # noqa: PTH113
            return ModelSpec(path.stem, kind, "spandrel", path.parent, (ModelFile(path),))
        if kind == Kind.SCORE and os.path.isfile(path):  # noqa: PTH113
            tower = self.resolve(encoder_for(path), ENCODER)
            return ModelSpec(name, kind, "laion", path.parent, (ModelFile(path),), encoder=tower)
        raise UsageError(
            f"{path} is not a model that can {kind}",
            "generate takes a diffusers folder (with model_index.json) or one .safetensors or .gguf file, a LoRA "
            "and a textual inversion are .safetensors files, score takes a head, upscale a weights file",
        )

    def _loose(self, name: str, kind: str) -> Path | None:
        """A file that somebody put into a folder for models, by its name without the ending."""
        if kind not in (Kind.GENERATE, *_ADDED) or os.sep in name or name.startswith("."):
            return None
        among = loose_folder(kind)
        for folder in (*self._folders, str(usual_folder())):
            root = os.path.expanduser(folder)  # noqa: PTH111
            for ending in (".safetensors", ".sft"):
                for place in (os.path.join(root, name + ending), os.path.join(root, among, name + ending)):  # noqa: PTH118
                    if os.path.isfile(place):  # noqa: PTH113
                        return Path(place)
        return None

    def _names(self, kind: str | None) -> str:
        return ", ".join(entry.name for entry in self.entries() if kind in (None, entry.kind))

    def _suggest(self, name: str, kind: str | None) -> str:
        known = [entry.name for entry in self.entries() if kind in (None, entry.kind)]
        near = difflib.get_close_matches(name, known, n=1)
        if not known:
            return f"put it into {usual_folder() / _ADDED[kind or LORA][1]}"
        return (f"did you mean '{near[0]}'? " if near else "") + f"Known are {', '.join(known)}"


def _with_family(spec: ModelSpec) -> ModelSpec:
    """With its family, from its files where nobody says it, and the family's defaults below its own."""
    path = spec.folder if spec.loader == "diffusers" else spec.files[0].path
    family = spec.family if spec.family in FAMILIES else family_of(path, spec.base.family if spec.base else "")
    return replace(spec, family=family, defaults={**family_called(family).defaults, **spec.defaults})


def _linked_entry(record: records.Record) -> ModelEntry | None:
    """What a record says of a model that no registry knows; None where that is not understood."""
    known = {key: value for key, value in record.entry.items() if key in ModelEntry.model_fields}
    if not known:
        return None
    try:
        return ModelEntry.model_validate(known)
    except ValidationError as error:
        log.warning("the record of '%s' does not count: %s", record.name, error.errors()[0]["msg"])
        return None


@cache
def _registry() -> dict[str, ModelEntry]:
    document = tomli.loads((files("hotfolder.models") / "registry.toml").read_text(encoding="utf-8"))
    return {entry["name"]: ModelEntry.model_validate(entry) for entry in document["model"]}


def _manifest(name: str) -> dict[str, Any]:
    """What the training tool wrote beside a built-in model: files with their sha256, and the golden value."""
    path = BUILTIN / name / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelMissing(f"the built-in model '{name}' is incomplete: {error}", "reinstall hotfolder") from None
    return manifest


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
