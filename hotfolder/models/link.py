"""Models that other programs have already, used where they lie: the folders of ComfyUI and of A1111, and any other."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.core.families import family_called
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.home import expanded
from hotfolder.models import records
from hotfolder.models.checkpoint import read_header
from hotfolder.models.entry import is_weights, slug
from hotfolder.models.family import family_of
from hotfolder.models.registry import EMBEDDING, LORA, Catalogue, sha256_of, usual_folder
from hotfolder.types import Kind

_WEIGHTS = {".safetensors", ".pth", ".pt"}
#: What models are for, and the folders of ComfyUI (models/…) and A1111 (models/…) that hold such, in lower case; the
#: first is the one that people know.
KINDS: Mapping[str, tuple[str, ...]] = {
    Kind.UPSCALE: ("upscale_models", "esrgan", "realesrgan", "swinir", "dat"),
    LORA: ("loras", "lora", "lycoris"),
    EMBEDDING: ("embeddings",),
    Kind.GENERATE: ("checkpoints", "stable-diffusion", "diffusion_models", "unet"),
}
#: How the tensors of a textual inversion are called; and how those begin of generators, and of networks for enlarging.
_INVERSIONS = {"emb_params", "clip_l", "clip_g", "string_to_param", "t5"}
_DENOISERS = (
    "model.diffusion_model.",
    "first_stage_model.",
    "double_blocks.",
    "transformer_blocks.",
    "down_blocks.",
)
_NETWORKS = ("body.", "conv_first.", "model.0.", "model.1.", "layers.", "conv_last.", "upsampler.")


@dataclass(frozen=True, slots=True)
class Found:
    """A model in another program's folder; `name` is empty where hotfolder has no use for it."""

    path: Path
    name: str
    what: str  # in words


def link(place: Path, catalogue: Catalogue, kind: str | None = None) -> Iterator[Found]:
    """Notes where the models below a folder lie, or a single file; nothing is copied or changed there.

    A file of the registry is known by its sha256, whatever it is called; of others the folder that it lies in tells
    what it is for, or `kind`, one of KINDS. Raises UsageError for what is no folder and no model, OSError.
    """
    place = expanded(place).absolute()
    if kind is not None and kind not in KINDS:
        raise UsageError(f"no kind of model is called '{kind}'", f"use one of {', '.join(KINDS)}")
    if place.is_file() and place.suffix.lower() not in _WEIGHTS:
        raise UsageError(f"{place} is no file of weights", f"name one that ends in {', '.join(sorted(_WEIGHTS))}")
    if not place.is_dir() and not place.is_file():
        raise UsageError(f"{place} is not there", "name the 'models' folder of ComfyUI or A1111, or a file in it")
    folder = place if place.is_dir() else place.parent
    by_size: dict[int, list[tuple[str, str]]] = {}
    for entry in catalogue.entries():
        for file in entry.files[:1] if len(entry.files) == 1 else ():
            if file.size and file.sha256:
                by_size.setdefault(file.size, []).append((entry.name, file.sha256))
    for path in _candidates(place) if place.is_dir() else [place]:
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
            meant = kind or next((each for each, folders in KINDS.items() if above.intersection(folders)), None)
            if meant == Kind.GENERATE:
                yield _link_checkpoint(path, catalogue)
            elif meant is None or (meant in (LORA, EMBEDDING) and not is_weights(path.name)):
                yield Found(path, "", _wanted(path))
            else:
                yield _link_new(path, path.stem, meant, catalogue)


def _wanted(path: Path) -> str:
    """What would have to be known of a file, and what it looks like, by the names of its tensors."""
    kinds = _looks_like(path)
    folders = " or ".join(f"'{KINDS[each][0]}' (--kind {each})" for each in kinds)
    looks = "" if len(kinds) > 1 else ", by the names in it"
    return f"what it is for is not known: it would have to lie in a folder {folders}{looks}"


def _looks_like(path: Path) -> list[str]:
    if not is_weights(path.name):  # others are refused: a pickle can run any program
        return [Kind.UPSCALE]
    try:
        names = read_header(path).shapes
    except HotfolderError:
        return list(KINDS)
    if any(re.search(r"lora_(?:up|down|A|B)\b|\.lora[._]|hada_w|lokr_w", name) for name in names):
        return [LORA]
    if set(names) <= _INVERSIONS or len(names) == 1:
        return [EMBEDDING]
    if any(name.startswith(_DENOISERS) for name in names):
        return [Kind.GENERATE]
    return [Kind.UPSCALE] if any(name.startswith(_NETWORKS) for name in names) else list(KINDS)


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
