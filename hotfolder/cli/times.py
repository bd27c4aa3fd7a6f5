"""Moments and lengths of time, as people write them."""

from __future__ import annotations

import re
import time
from datetime import datetime

from hotfolder.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_LONGEST = 366 * 86_400


def seconds_of(text: str, option: str = "--for", longest: float = _LONGEST) -> float:
    """'90s', '30m', '2h', '1.5d', '2w' in seconds. Raises UsageError, naming the option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= longest:
        raise UsageError(f"{option} {text} is no time", "write 90s, 30m, 2h or 1d")
    return seconds


def since(text: str | None) -> float | None:
    """The moment of `--since 7d` or `--since 2026-11-01`, in seconds since the epoch. Raises UsageError."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return time.time() - seconds_of(text, "--since", longest=100 * _LONGEST)
    except UsageError as error:
        raise UsageError(error.message, "write 12h, 7d, 2w, or a day such as 2026-11-01") from None
