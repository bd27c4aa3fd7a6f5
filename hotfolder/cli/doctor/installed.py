"""What is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata

from hotfolder.cli.doctor.check import Check

#: What the line is made of.
_PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "spandrel",
    "open_clip_torch",
    "watchdog",
    "pillow",
)


def python() -> Check:
    """Which Python this is."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version}, {sys.executable}")


def packages() -> Iterator[Check]:
    """The versions of what the line is made of, and what of it is missing."""
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "packages", "fail", f"not installed: {', '.join(missing)}", "uv sync, or install hotfolder again"
        )
    yield Check("packages", "ok", ", ".join(versions))
