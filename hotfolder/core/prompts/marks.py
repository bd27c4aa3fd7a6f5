"""The marks that chats and documents put before the lines of a list: numbers, bullets, and Markdown's quotation."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARK = re.compile(r"(?:(?P<number>\d{1,4})[.)]|(?P<sign>[-*+•>–—]))\s+(?=\S)")


def widths_of(lines: Sequence[str]) -> list[int | None] | None:
    """How many characters of each line are its mark, None for a line that lacks it; None where there is no list.

    All lines are one, or at least two of them with the same mark: the lines without it then do not belong.
    Numbers count up from the first.
    """
    found = [_MARK.match(line) for line in lines]
    kinds = [_kind(match) for match in found]
    marked = [kind for kind in kinds if kind is not None]
    if not marked or (len(marked) == 1 and len(lines) > 1):
        return None
    usual = max(set(marked), key=marked.count)
    numbers = [int(match["number"]) for match in found if match and match["number"]]
    if usual == "number" and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    if marked.count(usual) == 1 and len(lines) > 1:
        return None
    return [match.end() if match and kind == usual else None for match, kind in zip(found, kinds, strict=True)]


def _kind(match: re.Match[str] | None) -> str | None:
    return None if match is None else "number" if match["number"] else match["sign"]
