"""Whether a direction that was learnt still holds: each new label is judged by the head that was stored before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotfolder.models.taste_heads import Head
from hotfolder.taste.evidence import Evidence
from hotfolder.taste.fit import losses
from hotfolder.taste.measures import z_of_gain

#: Labels that are looked back on, and fewer of which say nothing.
_LAST, _LEAST = 50, 20
#: Standard errors by which it has to be worse than the threshold alone (one-sided, 10 %).
_WORSE = 1.28


@dataclass(frozen=True, slots=True)
class Watch:
    """How directions did on labels that came after them, against the person's threshold alone."""

    labels: int
    loss: float  # of the directions, in nats a label
    loss_of_threshold: float
    worse: float  # in standard errors; below 0: better

    @property
    def has_failed(self) -> bool:
        return self.labels >= _LEAST and self.worse > _WORSE

    def told(self) -> dict[str, Any]:
        return {
            "labels": self.labels, "loss": self.loss, "loss_of_threshold": self.loss_of_threshold,
            "worse": self.worse, "has_failed": self.has_failed,
        }  # fmt: skip


def watch(evidence: Evidence, stored: Sequence[Head]) -> Watch | None:
    """`stored`: oldest first, of this encoder. None where no label came after a direction."""
    directed = [head for head in stored if head.facts.level == "direction"]
    places = {content: place for place, content in enumerate(evidence.contents)}
    answers, with_direction, without = [], [], []
    for label in evidence.labels[-_LAST:]:
        head = next((head for head in reversed(directed) if head.facts.learnt_at < label.at), None)
        place = places[label.content]
        vector, prior = evidence.vectors[place], float(evidence.priors[place])
        if head is None or len(head.weight) != len(vector):
            continue
        facts = head.facts
        answers.append(float(label.keep))
        with_direction.append(head.z(head.score(prior, vector)))
        without.append(facts.own_a * (prior - facts.keep) / facts.spread + facts.own_c)
    if not answers:
        return None
    said = np.array(answers)
    new, old = losses(said, np.array(with_direction)), losses(said, np.array(without))
    return Watch(len(answers), float(new.mean()), float(old.mean()), z_of_gain(new - old))
