"""What a look at one thing came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and how to mend it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    fix: str = ""
