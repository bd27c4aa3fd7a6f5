"""How outputs are named. All paths here are strings relative to the root, '/' between the parts."""

from __future__ import annotations

from pathlib import PurePosixPath

from hotfolder.types import Kind

#: Longest file name, in bytes, that common Linux file systems take.
MAX_NAME_BYTES = 255
_USUAL = frozenset(kind.value for kind in Kind)
#: Of the file that says why another one failed.
SIDECAR_ENDING = ".error.json"


def generated_stem(source_file: str, seed: int, line: int | None) -> str:
    """`cats-s7`, or `cats-L3-s7` when the prompt file has several prompts."""
    suffix = f"-L{line}-s{seed}" if line is not None else f"-s{seed}"
    return _fit(PurePosixPath(source_file).stem, suffix)


def upscaled_stem(source: str, scale: float) -> str:
    """`cat_4x`, `cat_1.5x`."""
    return _fit(PurePosixPath(source).stem, f"_{scale:.3g}x")


def regressed(path: str) -> str:
    """`cat_4x.regressed.png` for `cat_4x.png`."""
    pure = PurePosixPath(path)
    return str(pure.with_name(_fit(pure.stem, ".regressed", pure.suffix)))


def mirrored(source_file: str, name: str, into: str) -> str:
    """The path of `name` in folder `into`, with the sub-folders that the dropped file had in its inbox.

    Inboxes beside the usual ones have their results apart: in a sub-folder of the inbox's name.
    """
    parts = source_file.split("/")
    usual = len(parts) > 1 and parts[1] in _USUAL
    return "/".join((into, *parts[2 if usual else 1 : -1], name))


def numbered(path: str, number: int) -> str:
    """The path itself for 0, else with `-1`, `-2`, … before its ending."""
    if number == 0:
        return path
    pure = PurePosixPath(path)
    return str(pure.with_name(_fit(pure.stem, f"-{number}", pure.suffix)))


def sidecar(path: str) -> str:
    """`a.png.error.json` for `a.png`."""
    pure = PurePosixPath(path)
    return str(pure.with_name(_fit(pure.name, SIDECAR_ENDING)))


def as_text(path: str) -> str:
    """The same path with each byte that is not UTF-8 as `%E9`: such a byte is no character of any text."""
    if path.isascii() or not any(c in _HALVES for c in path):  # asked for each file of a scan
        return path
    text = "".join(f"%{ord(c) - 0xDC00:02X}" if c in _HALVES else c for c in path)
    parts = (PurePosixPath(part) for part in text.split("/"))
    return "/".join(
        part.name if len(_bytes(part.name)) < 200 else _fit(part.stem, "", part.suffix) for part in parts
    )


def _fit(stem: str, suffix: str, ending: str = "") -> str:
    """Stem, suffix and ending, the stem shortened (by whole characters) so that a file system takes it."""
    if len(_bytes(ending)) > 32:  # a dot in a sentence, not an ending
        stem, ending = stem + ending, ""
    # Room for an ending of the worker's choosing, and for a number.
    room = MAX_NAME_BYTES - len(_bytes(suffix)) - len(_bytes(ending)) - 12
    if len(_bytes(stem)) > room:
        # What is left of a character that was cut in two goes, too.
        stem = _bytes(stem)[:room].decode(errors="surrogateescape").rstrip(_HALVES)
    return stem + suffix + ending


#: What bytes that are no text become in Python's names of files.
_HALVES = "".join(map(chr, range(0xDC80, 0xDD00)))


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
