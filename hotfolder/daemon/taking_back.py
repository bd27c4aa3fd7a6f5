"""What is taken back from a device that would end later than others which have nothing to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hotfolder.core.sharing import Able, own_share
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.types import Kind

#: Of what is over in so many seconds, nothing is taken back.
_SOON = 1.0
#: A device that takes so many times as long for a job as it did before, and so many seconds, is slow to a crawl.
_CRAWL = 10.0
CRAWL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Jobs that somebody else is to do."""

    jobs: Sequence[int]
    why: str = ""  # the device is set aside; empty: it goes on with the others


def to_take_back(work: DeviceWork, free: Sequence[DeviceWork], once: Collection[int]) -> TakenBack | None:
    """Of what a device has in work, what those who are `free` would end sooner.

    `once`: jobs that were taken back already because a device was slow to a crawl with them: they are large, perhaps.
    """
    if not work.jobs or work.leaving or work.group is None:
        return None
    group = work.group
    free = [other for other in free if group not in other.lacks]
    if not free:
        return None
    jobs, is_drawing, silence = list(work.jobs), group[0] is Kind.GENERATE, work.silence()
    own = work.rates.measured(group[0])
    if own is not None:  # the pace of another device says nothing of what is usual here
        usual = own * (len(jobs) if is_drawing else 1)  # pictures that are drawn together end together
        if silence > max(CRAWL_SECONDS, _CRAWL * usual) and not work.jobs.keys() & set(once):
            return TakenBack(
                jobs, f"slow to a crawl: {silence:.0f} s without a result, where {usual:.1f} s were usual"
            )
    paces = [own, *(other.rates.measured(group[0]) for other in free)]
    each = next((seconds for seconds in paces if seconds is not None), None)
    if each is None or is_drawing or len(jobs) < 2 or len(jobs) * each < _SOON:
        return None
    load = work.rates.load_seconds(group[0]) or 0.0
    helpers = [other.able(group, each, load) for other in free if other is not work]
    left = own_share(len(jobs), Able(max(each, silence)), helpers)
    in_work = work.progress.job_id if work.progress else jobs[0]
    wanted = [job for job in jobs[max(1, left) :] if job != in_work]
    return TakenBack(wanted) if wanted else None
