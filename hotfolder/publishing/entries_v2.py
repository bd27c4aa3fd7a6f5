"""Journal entries of the second version: they know of no companions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def completed(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same as this version writes it. Raises KeyError or TypeError for what is no such entry."""
    return {**told, "transition": {**told["transition"], "companions": []}}
