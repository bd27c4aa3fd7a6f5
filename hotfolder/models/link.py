"""Models that other programs have already, used where they lie: the folders of ComfyUI and of A1111, and any other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hotfolder.core.families import family_called
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.home import expanded
from hotfolder.models import records
from hotfolder.models.entry import is_weights, slug
from hotfolder.models.family import family_of
from hotfolder.models.registry import EMBEDDING, LORA, Catalogue, sha256_of, usual_folder

_WEIGHTS = {".safetensors", ".pth", ".pt"}
#: Folders of ComfyUI (models/…) and A1111 (models/…) that hold networks for enlarging, LoRA, textual inversions, and
#: generators.
_UPSCALERS = {"upscale_models", "esrgan", "realesrgan", "swinir", "dat"}
_LORAS = {"loras", "lora", "lycoris"}
_EMBEDDINGS = {"embeddings"}
_CHECKPOINTS = {"checkpoints", "stable-diffusion", "diffusion_models", "unet"}


@dataclass(frozen=True, slots=True)
class Found:
    """A model in another program's folder; `name` is empty where hotfolder has no use for it."""

    path: Path
    name: str
    what: str  # in words


def link(folder: Path, catalogue: Catalogue) -> Iterator[Found]:
    """Notes where the models below a folder lie; nothing is copied or changed there.

    A file of the registry is known by its sha256, whatever it is called; other networks for enlarging, and diffusers
    folders, can be named by their file's name. Raises UsageError for what is no folder, OSError.
    """
    folder = expanded(folder).absolute()
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name the 'models' folder of ComfyUI or A1111")
    by_size: dict[int, list[tuple[str, str]]] = {}
    for entry in catalogue.entries():
        for file in entry.files[:1] if len(entry.files) == 1 else ():
            if file.size and file.sha256:
                by_size.setdefault(file.size, []).append((entry.name, file.sha256))
    for path in _candidates(folder):
        try:
            alike = by_size.get(path.stat().st_size, [])
            digest = sha256_of(path) if alike else ""
            known = next((name for name, sha256 in alike if sha256 == digest), None)
        except OSError as error:
            yield Found(path, "", f"cannot be read: {error.strerror}")
            continue
        if path.name == "model_index.json":
            yield _link_new(path, path.parent.name, "generate", catalogue)
        elif known is not None:
            _record(known, path, {})
            yield Found(path, known, "known by its sha256")
        else:
            above = {part.lower() for part in path.relative_to(folder.parent).parts[:-1]}
            if above & _UPSCALERS:
                yield _link_new(path, path.stem, "upscale", catalogue)
            elif above & _LORAS and is_weights(path.name):
                yield _link_new(path, path.stem, LORA, catalogue)
            elif above & _EMBEDDINGS and is_weights(path.name):
                yield _link_new(path, path.stem, EMBEDDING, catalogue)
            elif above & _CHECKPOINTS:
                yield _link_checkpoint(path, catalogue)
            else:
                yield Found(
                    path,
                    "",
                    "in no folder of upscalers, LoRA, embeddings or checkpoints, and no file of the registry",
                )


def _candidates(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        if "model_index.json" in names:
            folders.clear()
            yield Path(here) / "model_index.json"
            continue
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in _WEIGHTS:
                yield Path(here) / name


def _link_checkpoint(path: Path, catalogue: Catalogue) -> Found:
    """A generator in one file. FLUX.1's takes the rest of its parts from the registry's model of its sort."""
    try:
        family = family_of(path)
    except HotfolderError as error:
        return Found(path, "", error.message.removeprefix(f"{path} "))
    base = {} if family_called(family).whole_files else {"base": "flux-dev" if family == "flux" else family}
    return _link_new(path, path.stem, "generate", catalogue, family=family, **base)


def _link_new(path: Path, called: str, kind: str, catalogue: Catalogue, **more: str) -> Found:
    """A model that the registry does not know, by the name of its file or folder; others of that name stay."""
    name = slug(called)
    for number in itertools.count(2):
        record = records.read(usual_folder(), name)
        if catalogue.entry(name) is None and record is None:
            break
        if record is not None and record.origin == "linked" and record.files and record.files[0].path == str(path):
            break  # it was linked before
        name = f"{slug(called)}-{number}"
    _record(name, path, {"name": name, "kind": kind, "source": str(path), "files": [{"path": path.name}], **more})
    added = {LORA: "a LoRA", EMBEDDING: "a textual inversion"}
    what = added.get(kind) or f"can {kind}" + (f", with the rest of {more['base']}" if "base" in more else "")
    return Found(path.parent if path.name == "model_index.json" else path, name, what)


def _record(name: str, path: Path, entry: dict[str, object]) -> None:
    file = records.InstalledFile(str(path), path.stat().st_size, sha256_of(path))
    records.write(usual_folder(), records.Record(name, "linked", str(path.parent), (file,), entry))
