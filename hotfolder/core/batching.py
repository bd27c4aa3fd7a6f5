"""Which jobs to take next."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.core.batch_key import batch_key
from hotfolder.core.prompts import said
from hotfolder.core.retry import runs_alone
from hotfolder.types import GenerateParams, Job, Kind


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How many jobs of a kind make a batch, and how long a turn lasts where models have to be loaded for the next."""

    sizes: Mapping[Kind, int]
    fairness_seconds: float


def pick_batch(waiting: Sequence[Job], policy: BatchPolicy) -> tuple[Job, ...]:
    """The jobs to do next, oldest first; of prompts, those of one shape.

    A job that a worker, or the daemon, died on goes alone, so that it takes no innocent one with it.
    `waiting` are jobs of one kind and one model that may be claimed now, oldest first.
    """
    if not waiting:
        return ()
    lead = waiting[0]
    if runs_alone(lead):
        return (lead,)
    same = (job for job in waiting if not runs_alone(job))
    if isinstance(lead.params, GenerateParams):
        key = _key(lead)
        same = (job for job in same if _key(job) == key)
    return tuple(job for job, _ in zip(same, range(policy.sizes.get(lead.kind, 1)), strict=False))


def _key(job: Job) -> Hashable:
    return batch_key(said(job.params.request)) if isinstance(job.params, GenerateParams) else None
