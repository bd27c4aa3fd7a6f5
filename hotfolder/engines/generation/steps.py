"""The steps of one call of a pipeline: counted, told, and ended between two of them.

Pipelines have callbacks of several kinds, or none; all of them ask their scheduler for each step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Steps:
    """Of a pipeline whose scheduler is new. `before` may raise and so end the call; `after` is told step and total."""

    def __init__(self, pipeline: Any, before: Callable[[], None], after: Callable[[int, int], None]) -> None:
        self._pipeline = pipeline
        self.done = 0
        self.latents: tuple[int, int] | None = None  # height and width, where the latents have such
        theirs = pipeline.scheduler.step

        # With the signature of what is wrapped: pipelines pass what it has.
        @functools.wraps(theirs)
        def step(*args: Any, **more: Any) -> Any:
            before()
            sample = args[2] if len(args) > 2 else more.get("sample")
            if self.latents is None and sample is not None and sample.ndim == 4:
                self.latents = int(sample.shape[-2]), int(sample.shape[-1])
            found = theirs(*args, **more)
            self.done += 1
            after(self.done, self.total)
            return found

        pipeline.scheduler.step = step

    @property
    def total(self) -> int:
        """Of this call, once its first step has begun."""
        counted: int | None = getattr(self._pipeline, "_num_timesteps", None)
        return len(self._pipeline.scheduler.timesteps) if counted is None else counted


class _Read(Exception):
    """The prompts of a call are read, and nothing is drawn."""


@contextmanager
def reading_only(pipeline: Any) -> Iterator[None]:
    """A call of this pipeline, whose scheduler is new, ends where drawing would begin: in its timesteps, or its noise.

    The exception that ends it is not seen outside.
    """
    scheduler = pipeline.scheduler
    theirs = scheduler.set_timesteps

    @functools.wraps(theirs)  # pipelines look at its signature
    def end(*_: Any, **__: Any) -> None:
        raise _Read

    scheduler.set_timesteps = end
    pipeline.prepare_latents = end
    try:
        yield
    except _Read:
        pass
    finally:
        del pipeline.prepare_latents
        del scheduler.set_timesteps
