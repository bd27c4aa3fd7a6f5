"""An executor without models: does real files' worth of work, as a script tells it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from PIL import Image

from hotfolder.errors import HotfolderError
from hotfolder.executors.base import Done
from hotfolder.files.trouble import explain
from hotfolder.imaging.decode import decode
from hotfolder.imaging.encode import stage
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, Score

#: A script looks at an item and its kind: a number is the score, an error is the outcome, a text is the
#: reason why the worker died on it.
Script = Callable[[Kind, Item], float | HotfolderError | str]


def always(score: float) -> Script:
    return lambda _kind, _item: score


class ScriptedExecutor:
    """Satisfies the Executor protocol. Keeps every batch it was given in `batches`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.batches: list[Batch] = []
        self.closed = False
        self.cancelled: set[int] = set()
        self.reconfigured: RunnerSettings | None = None
        self._batch: Batch | None = None

    def capacity(self) -> int:
        return 0 if self._batch else 1

    def submit(self, batch: Batch) -> None:
        assert self._batch is None and not self.closed
        self._batch = batch
        self.batches.append(batch)

    def poll(self, timeout: float) -> Sequence[Done]:
        batch, self._batch = self._batch, None
        if batch is None:
            return []
        told: list[Done] = []
        for item in batch.items:
            answer = self.script(batch.kind, item)
            if isinstance(answer, str):
                return [*told, Done(progress=Progress(item.job_id, "at work")), Done(lost=answer)]
            try:
                outcome = self._work(batch.kind, item, answer)
            except OSError as error:
                outcome = Outcome(item.job_id, item.claim, error=explain(error).info())
            told.append(Done(outcome=outcome))
        return [*told, Done(finished=batch.id)]

    def cancel(self, job_ids: Collection[int]) -> None:
        self.cancelled |= set(job_ids)

    def interrupt(self) -> None:
        pass

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self.reconfigured = settings

    def abandon(self, why: str) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def _work(self, kind: Kind, item: Item, answer: float | HotfolderError) -> Outcome:
        if isinstance(answer, HotfolderError):
            return Outcome(item.job_id, item.claim, error=answer.info())
        if kind is Kind.GENERATE:
            seed = item.params["seed"]
            image = Image.new("RGB", (8, 8), (seed % 256, seed // 256 % 256, seed // 65536 % 256))
            settings = {**item.params, "sampler": "none"}
            staged = stage(image, Path(item.staging), "output", "png", settings=settings)
            return Outcome(item.job_id, item.claim, staged=staged)
        assert item.source is not None
        try:
            found = decode(Path(item.source), 10**9)
        except HotfolderError as error:
            return Outcome(item.job_id, item.claim, error=error.info())
        if kind is Kind.SCORE:
            score = Score(answer, "scripted", "0" * 64, "none", "float64")
            return Outcome(item.job_id, item.claim, score=score, source=found.facts)
        width, height = found.image.size
        enlarged = found.image.resize((width * 4, height * 4), Image.Resampling.NEAREST)
        staged = stage(enlarged, Path(item.staging), "output", "png", settings={"scale": 4})
        return Outcome(item.job_id, item.claim, staged=staged, source=found.facts)
