"""Journal entries of the third version: they know neither thresholds of verdicts nor actions of a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What was added to each kind since.
_ADDED: Mapping[str, Mapping[str, None]] = {
    "Scored": {"gate_keep": None},
    "Chosen": {"gate_keep": None},
    "Rerouted": {"gate_keep": None},
    "Failed": {"attempts": None},
    "Retried": {"action_id": None, "source": None},
    "ImageRetried": {"action_id": None},
    "SourceReopened": {"action_id": None},
    "SourceTakenAnew": {"action_id": None},
}


def completed(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same as this version writes it. Raises KeyError or TypeError for what is no such entry."""
    return {**told, "transition": {**told["transition"], **_ADDED.get(told["kind"], {})}}
