"""Formats that Pillow reads with the help of another package, which is asked for only where such a file is met."""

from __future__ import annotations

import functools
from importlib import import_module

from hotfolder.core.pictures import brands
from hotfolder.errors import UnsupportedImage

#: Pillow's name of the format -> the package that reads it, its module, and our extra.
_PACKAGES = {"HEIF": ("pillow-heif", "pillow_heif", "heif"), "JXL": ("pillow-jxl-plugin", "pillow_jxl", "jxl")}
_HEIF = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def extra_format(name: str, head: bytes) -> str | None:
    """The format of a file, where Pillow needs help with it, ready to be read.

    Raises UnsupportedImage, saying what to install, where that is missing.
    """
    found = None
    if head[:2] == b"\xff\x0a" or head.startswith(b"\0\0\0\x0cJXL \r\n\x87\n"):
        found = "JXL"
    elif head[4:8] == b"ftyp":
        told = brands(head)
        if told & _HEIF and not told & {b"avif", b"avis"}:
            found = "HEIF"
    if found is not None and not _is_ready(found):
        package, _, extra = _PACKAGES[found]
        raise UnsupportedImage(
            f"{name} is {found}, which {package} reads, and that is not installed",
            f"uv pip install 'hotfolder[{extra}]', start the daemon again, then: hotfolder retry",
        )
    return found


@functools.cache
def _is_ready(format_: str) -> bool:
    try:
        module = import_module(_PACKAGES[format_][1])
    except ImportError:
        return False
    if format_ == "HEIF":
        module.register_heif_opener()
    return True
