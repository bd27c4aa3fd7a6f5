"""What was fetched or linked: a small file beside the models says where its files lie, written last of all."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_NAME = "installed.json"


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """A file of a model; `sha256` is that which it had when it came."""

    path: str  # absolute
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """A model whose files lie elsewhere: in the hub's cache, or where another program has them."""

    name: str
    origin: str  # 'pulled', 'linked' or 'received'
    folder: str  # absolute
    files: tuple[InstalledFile, ...]
    entry: Mapping[str, Any]  # a ModelEntry's fields: of a linked model that no registry knows
    revision: str = ""  # the commit of the hub's repository that was fetched

    @property
    def is_whole(self) -> bool:
        """Whether every file is there, and of its size."""
        return bool(self.files) and all(_size(f.path) == f.size for f in self.files)


def path_of(home: Path, name: str) -> Path:
    return home / name / _NAME


def read(home: Path, name: str) -> Record | None:
    """The record of this name; None where there is none that can be read."""
    try:
        found = json.loads(path_of(home, name).read_text(encoding="utf-8"))
        files = tuple(InstalledFile(**file) for file in found["files"])
        return Record(
            found["name"],
            found["origin"],
            found["folder"],
            files,
            found.get("entry") or {},
            found.get("revision") or "",
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s does not count: %s", path_of(home, name), error)
        return None


def read_all(home: Path) -> list[Record]:
    """Every record below this folder."""
    names = sorted(path.parent.name for path in home.glob(f"*/{_NAME}"))
    return [record for name in names if (record := read(home, name)) is not None]


def write(home: Path, record: Record) -> None:
    """Whole or not at all. Raises OSError."""
    path = path_of(home, record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.part")
    with staged.open("w", encoding="utf-8") as file:
        json.dump({"schema_version": 1, **asdict(record)}, file, indent=1, default=dict)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a text, not a Path
    except OSError:
        return None
