"""`hotfolder backup`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hotfolder.cli.display import Display
from hotfolder.config.root import find_root
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger import health
from hotfolder.printable import printable


def run_backup(given: Path | None, file: Path, *, as_json: bool) -> None:
    """Raises UsageError when the file is there already or cannot be written, LedgerError."""
    layout = Layout(find_root(given))
    try:
        with Display() as display:
            size = health.copy(layout.database, file, lambda done, total: display.update("copying", done, total))
    except FileExistsError:
        raise UsageError(f"{file} exists already", "name a new file") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", "choose another place") from None
    if as_json:
        sys.stdout.write(json.dumps({"schema_version": 1, "file": str(file), "bytes": size}) + "\n")
    else:
        sys.stdout.write(f"{printable(str(file))}: {size:,} bytes, checked\n")
