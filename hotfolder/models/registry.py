"""From a model's name, or a path, to files on this machine. Reads no weights."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli

from hotfolder.errors import ModelDamaged, ModelMissing, UsageError
from hotfolder.types import Kind

BUILTIN = Path(str(files("hotfolder.models"))) / "builtin"
#: The kind of models that turn pictures into embeddings, for scorers.
ENCODER = "encoder"
#: The encoder that a head named by its path reads.
HEADS_READ = "clip-vit-l-14"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; `sha256` is None where no pinned value is known."""

    path: Path
    sha256: str | None = None


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

    def verify(self) -> str:
        """Checks each file that has a pinned sha256; gives the sha256 of the weights as a whole.

        For one file that is the file's own; for several, that of their concatenated hex digests in the order of
        the registry. Raises ModelDamaged.
        """
        digests = []
        for file in self.files:
            digest = _sha256(file.path)
            if file.sha256 not in (None, digest):
                raise ModelDamaged(
                    f"{file.path} is not the file that '{self.name}' should be (sha256 {digest[:16]}…, expected "
                    f"{str(file.sha256)[:16]}…)",
                    "fetch it again from its source",
                )
            digests.append(digest)
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def usual_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where models lie unless configured: `$XDG_DATA_HOME/hotfolder/models`."""
    data = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "hotfolder" / "models"


def resolve(name: str, kind: str, folders: Sequence[str], *, with_twin: bool = False) -> ModelSpec:
    """The model of this name in the registry, or at this path, found in `folders` or the usual place.

    Its twin is looked for only `with_twin`: nobody needs it who does not ask for it.
    Raises UsageError for a name that is not known or is of another kind, ModelMissing for one whose files are
    not here.
    """
    entry = _entries().get(name)
    if entry is None:
        return _by_path(name, kind, folders)
    if entry["kind"] != kind:
        known = [e["name"] for e in _entries().values() if e["kind"] == kind]
        raise UsageError(
            f"model '{name}' does not {kind}, it is for '{entry['kind']}'", f"use one of {', '.join(known)}"
        )
    if entry.get("builtin"):
        entry = {**entry, **_manifest(name)}
        places = [BUILTIN / name, BUILTIN]
    else:
        places = _places(name, folders)
    wanted = [file["path"] for file in entry.get("files", ())]
    folder = next((p for p in places if all((p / w).is_file() for w in wanted)), None)
    if folder is None:
        raise ModelMissing(
            f"model '{name}' is not on this machine: no folder with {' and '.join(wanted)}",
            f"put it into {places[-2]} (source: {entry.get('source', 'hotfolder itself: reinstall it')})",
        )
    return ModelSpec(
        name=name,
        kind=kind,
        loader=entry["loader"],
        folder=folder,
        files=tuple(ModelFile(folder / file["path"], file.get("sha256")) for file in entry.get("files", ())),
        defaults=entry.get("defaults", {}),
        golden=entry.get("golden", {}),
        encoder=resolve(entry["encoder"], ENCODER, folders) if "encoder" in entry else None,
        twin=resolve(entry["twin"], kind, folders) if "twin" in entry and with_twin else None,
    )


def check_confined(name: str, folders: Sequence[str]) -> None:
    """Whether a file that was dropped may name this model: a path must lie below the declared folders.

    Raises UsageError, also for what leads out of them by links or '..'.
    """
    if name in _entries() or not (os.path.isabs(name) or "/" in name):  # noqa: PTH117 - never raise
        return
    real = os.path.realpath(name)
    roots = [os.path.realpath(os.path.expanduser(folder)) for folder in (*folders, str(usual_folder()))]  # noqa: PTH111
    if os.path.isabs(name) and any(real.startswith(root + os.sep) for root in roots):  # noqa: PTH117
        return
    raise UsageError(
        f"the path {name} is not below the folders for models", "put it there, or add its folder to models.folders"
    )


def _places(name: str, folders: Sequence[str]) -> list[Path]:
    """`<folder>/<name>` before `<folder>` itself, for each folder."""
    roots = [*(Path(os.path.expanduser(folder)) for folder in folders), usual_folder()]  # noqa: PTH111
    return [place for root in roots for place in (root / name, root)]


def _by_path(name: str, kind: str, folders: Sequence[str]) -> ModelSpec:
    path = Path(name)
    # os.path answers False where Path.exists would raise: no permission, a name too long.
    if not path.is_absolute() or not os.path.exists(path):  # noqa: PTH110
        known = [e["name"] for e in _entries().values() if e["kind"] == kind]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"no model is called '{name}'", f"{hint}Known are {', '.join(known)}; or give an absolute path"
        )
    if kind == Kind.GENERATE and os.path.isfile(path / "model_index.json"):  # noqa: PTH113
        return ModelSpec(path.name, kind, "diffusers", path, ())
    if kind == Kind.UPSCALE and os.path.isfile(path):  # noqa: PTH113
        return ModelSpec(path.stem, kind, "spandrel", path.parent, (ModelFile(path),))
    if kind == Kind.SCORE and os.path.isfile(path):  # noqa: PTH113
        tower = resolve(HEADS_READ, ENCODER, folders)
        return ModelSpec(name, kind, "laion", path.parent, (ModelFile(path),), encoder=tower)
    raise UsageError(
        f"{path} is not a model that can {kind}",
        "generate takes a diffusers folder (with model_index.json), score a head, upscale a weights file",
    )


@cache
def _entries() -> dict[str, dict[str, Any]]:
    document = tomli.loads((files("hotfolder.models") / "registry.toml").read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in document["model"]}


def _manifest(name: str) -> dict[str, Any]:
    """What the training tool wrote beside a built-in model: files with their sha256, and the golden value."""
    path = BUILTIN / name / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelMissing(f"the built-in model '{name}' is incomplete: {error}", "reinstall hotfolder") from None
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
