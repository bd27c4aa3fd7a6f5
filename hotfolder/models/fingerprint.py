"""The identity of a model: one sha256 for all that it is made of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.core.families import family_called
from hotfolder.home import cache_folder
from hotfolder.models.quantised import is_gguf
from hotfolder.models.registry import ModelSpec, sha256_of

#: What of a pipeline folder is part of the model.
_ENDINGS = (".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True, slots=True)
class Piece:
    """One of the files that a model is made of."""

    name: str  # below the model's folder, '/' between the parts
    path: Path
    sha256: str


def pieces(spec: ModelSpec, cache: Path | None = None) -> tuple[Piece, ...]:
    """A model's own files, without those of models that it needs.

    What is known from when they came is not read again, and the rest only once, unless it changes: `cache` remembers
    it (the usual one is in $XDG_CACHE_HOME). Raises OSError.
    """
    known = {file.path: file.sha256 for file in spec.files if file.sha256}
    remembered = _Remembered(cache or _usual_cache())
    if spec.loader == "diffusers":
        paths = sorted(path for path in spec.folder.rglob("*") if _is_part(path) and path.is_file())
    else:
        paths = [file.path for file in spec.files]
    paths += [path for path in spec.text_encoders if path not in paths]
    found = [Piece(_name(path, spec), path, known.get(path) or remembered.digest(path)) for path in paths]
    remembered.write()
    return tuple(found)


def _name(path: Path, spec: ModelSpec) -> str:
    return path.relative_to(spec.folder).as_posix() if path.is_relative_to(spec.folder) else path.name


def fingerprint(spec: ModelSpec, cache: Path | None = None) -> str:
    """Of a generator, in hex. Of one file its own, of which the web UI writes ten digits as 'Model hash'; a denoiser's
    with its base. Of a pipeline folder that of its files' names and digests. Text encoders that are files beside it
    belong to it. Raises OSError.
    """
    found = pieces(spec, cache)
    own = tuple(piece for piece in found if piece.path not in spec.text_encoders)
    encoders = "".join(f" {piece.sha256}" for piece in found if piece.path in spec.text_encoders)
    if spec.loader != "single_file":
        return _digest_of_all(own, encoders)
    if spec.base is None or family_called(spec.family).whole_files:  # else only shapes and words come from it
        return own[0].sha256
    return hashlib.sha256(f"{own[0].sha256} {fingerprint(spec.base, cache)}{encoders}".encode()).hexdigest()


def identity(spec: ModelSpec, cache: Path | None = None, found: tuple[Piece, ...] | None = None) -> str:
    """Of any model, with all the models that it needs, in hex: two machines where it is equal have the same model.

    Of one file without others it is the file's own sha256, whatever it is called. `found` are its pieces, where they
    are known. Raises OSError.
    """
    found = pieces(spec, cache) if found is None else found
    own = found[0].sha256 if len(found) == 1 else _digest_of_all(found)
    others = [identity(other, cache) for other in (spec.encoder, spec.twin, spec.base) if other is not None]
    return hashlib.sha256(" ".join([own, *others]).encode()).hexdigest() if others else own


def _digest_of_all(found: tuple[Piece, ...], others: str = "") -> str:
    lines = "".join(f"{one.name} {one.sha256}\n" for one in found)
    return hashlib.sha256(f"{lines}{others}".encode()).hexdigest()


def _is_part(path: Path) -> bool:
    """Whether the model is made of it; people keep denoisers in GGUF beside the folder of their base."""
    if path.name == "manifest.json":
        return False
    return path.suffix in _ENDINGS or (is_gguf(path) and path.parent.name.startswith("text_encoder"))


#: Digits of a sha256 that are enough to tell models apart; the web UI writes ten. It wrote eight of another digest.
_ENOUGH, _OLD = 10, 8


def is_called(digest: str, spec: ModelSpec, own: str) -> bool:
    """Whether `digest` is this model's `own` fingerprint, its beginning, or the web UI's old hash of its file."""
    wanted = digest.lower()
    if len(wanted) == _OLD:
        return spec.loader == "single_file" and _old_hash(spec.files[0].path) == wanted
    return len(wanted) >= _ENOUGH and own.startswith(wanted)


def _old_hash(path: Path) -> str:
    """Of 64 KiB behind the first MiB, as the Stable Diffusion web UI did until 2023. Raises OSError."""
    with path.open("rb") as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(0x10000)).hexdigest()[:_OLD]


def _usual_cache(environ: Mapping[str, str] = os.environ) -> Path:
    return cache_folder(environ) / "digests.json"


class _Remembered:
    """Digests of files, by path, size and time of change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, str] = {}
        self._is_new = False
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self._found = {str(key): str(value) for key, value in found.items()}

    def digest(self, path: Path) -> str:
        facts = path.stat()
        key = f"{path} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"
        if key not in self._found:
            self._found[key] = sha256_of(path)
            self._is_new = True
        return self._found[key]

    def write(self) -> None:
        """For speed alone: where it cannot be written, it is not."""
        if not self._is_new:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged = self._path.with_suffix(f".{os.getpid()}.part")
            staged.write_text(json.dumps(self._found), encoding="utf-8")
            staged.replace(self._path)
