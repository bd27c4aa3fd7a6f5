"""The lines of a dropped prompt file, for who names one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.ledger.reader import Reader

#: Runs of lines that are named.
_SOME = 10


def check_line(reader: Reader, file: Path, drops: Sequence[int], line: int) -> None:
    """Raises UsageError where a file that was dropped has no prompt on this line, and says which lines have one."""
    lines = sorted({known for drop_id in drops for known in reader.lines_of_drop(drop_id)})
    if not lines:
        raise UsageError(f"{file} has no lines to choose from", "leave --line out: it is all of the file")
    if line not in lines:
        raise UsageError(f"{file} has no prompt on line {line}", f"there are: {_named(lines)}")


def _named(lines: Sequence[int]) -> str:
    """'1 to 3, 5': ascending numbers, those that follow each other as one."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and runs[-1][1] == line - 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    told = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return ", ".join([*told[:_SOME], f"… to {lines[-1]}"] if len(told) > _SOME else told)
