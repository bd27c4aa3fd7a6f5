"""Work without a queue: for the commands that take files and answer at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from hotfolder.errors import HotfolderError, WorkerLost
from hotfolder.executors.base import DeviceId, Executor, only_device
from hotfolder.types import Batch, FailureClass, Item, Kind, Outcome, Progress

#: After a worker died, so many of the items that it may have died on are tried one by one.
_SUSPECTS = 64
_WAIT = 0.2


class CannotWork(HotfolderError):
    """Nothing can be done as things are: no device, no model, no space."""

    kind = "environment"


def work(
    executor: Executor,
    kind: Kind,
    model: str,
    items: Sequence[Item],
    tell: Callable[[Progress], None],
    device: DeviceId | None = None,
) -> Iterator[Outcome]:
    """The outcome of every item, as they come. An item that kills the worker gets an error of its own.

    All of it is done on one device, the executor's first unless one is named.

    Raises CannotWork when it is not an item's fault: then what has no outcome yet gets none.
    """
    rest = {item.job_id: item for item in items}
    ids = itertools.count(1)
    device = device or only_device(executor)
    alone = 0  # so many of the rest go one by one
    while rest:
        batch = list(rest.values())[: 1 if alone else None]
        alone = max(0, alone - 1)
        executor.submit(Batch(next(ids), kind, model, tuple(batch)), device)
        lost: str | None = None
        for told in _listen(executor, tell):
            if isinstance(told, Outcome):
                if told.error is not None and told.error.failure is FailureClass.ENVIRONMENT:
                    raise CannotWork(told.error.message, told.error.fix)
                rest.pop(told.job_id)
                yield told
            else:
                lost = told
        left = [item for item in batch if item.job_id in rest]
        if lost is None:
            if left:
                raise CannotWork("the worker stopped before the end", "see above; start it again")
        elif len(left) == 1:
            rest.pop(left[0].job_id)
            error = WorkerLost(lost, "the file may be too much for the device; see the log")
            yield Outcome(left[0].job_id, left[0].claim, error=error.info())
        else:
            alone = min(_SUSPECTS, len(left))


def _listen(executor: Executor, tell: Callable[[Progress], None]) -> Iterator[Outcome | str]:
    """Outcomes of the batch in work until it has ended; last, if the worker died, how."""
    while True:
        for done in executor.poll(_WAIT):
            if done.outcome is not None:
                yield done.outcome
            elif done.progress is not None:
                tell(done.progress)
            elif done.finished is not None:
                return
            elif done.lost is not None:
                if not done.started:
                    raise CannotWork(f"the worker cannot start: {done.lost}", "see its last words above")
                yield done.lost
                return
