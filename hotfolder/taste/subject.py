"""Whose taste is meant: of which inbox, and beside which score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    inbox: str  # the name of its folder below inbox/
    prior: str  # a scorer: what is learnt is added to its score
    encoder: str  # the name of the model whose embeddings are read
    keep: float  # the gate's threshold
