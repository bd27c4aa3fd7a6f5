"""An executor without models: does real files' worth of work, as a script tells it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from pathlib import Path

from PIL import Image

from hotfolder.errors import HotfolderError
from hotfolder.executors.base import DeviceId
from hotfolder.executors.stand_in import StandInExecutor
from hotfolder.files.trouble import explain
from hotfolder.imaging.decode import decode
from hotfolder.imaging.encode import stage
from hotfolder.similarity import layout
from hotfolder.types import Batch, Embedding, Item, Kind, Outcome, RunnerSettings, Score

#: A script looks at an item and its kind: a number is the score, an error is the outcome, a text is the
#: reason why the worker died on it.
Script = Callable[[Kind, Item], float | HotfolderError | str]


def always(score: float) -> Script:
    return lambda _kind, _item: score


class ScriptedExecutor(StandInExecutor):
    """Keeps every batch it was given in `batches`, and what else it was told."""

    def __init__(self, script: Script) -> None:
        super().__init__(self._outcome)
        self.script = script
        self.batches: list[Batch] = []
        self.closed = False
        self.cancelled: set[int] = set()
        self.reconfigured: RunnerSettings | None = None

    def submit(self, batch: Batch, device: DeviceId) -> None:
        assert not self.closed
        super().submit(batch, device)
        self.batches.append(batch)

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        super().cancel(job_ids, device)
        self.cancelled |= set(job_ids)

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self.reconfigured = settings

    def close(self) -> None:
        self.closed = True

    def _outcome(self, kind: Kind, item: Item) -> Outcome | str:
        answer = self.script(kind, item)
        if isinstance(answer, str):
            return answer
        try:
            return self._work(kind, item, answer)
        except OSError as error:
            return Outcome(item.job_id, item.claim, error=explain(error).info())

    def _work(self, kind: Kind, item: Item, answer: float | HotfolderError) -> Outcome:
        if isinstance(answer, HotfolderError):
            return Outcome(item.job_id, item.claim, error=answer.info())
        if kind is Kind.GENERATE:
            seed = item.params["seed"]
            size = item.params.get("width") or 8, item.params.get("height") or 8
            image = Image.new("RGB", size, (seed % 256, seed // 256 % 256, seed // 65536 % 256))
            settings = {"steps": 8, **item.params, "sampler": "none"}
            staged = stage(image, Path(item.staging), "output", "png", settings=settings)
            return Outcome(item.job_id, item.claim, staged=staged)
        assert item.source is not None
        try:
            found = decode(Path(item.source), 10**9)
        except HotfolderError as error:
            return Outcome(item.job_id, item.claim, error=error.info())
        if kind is Kind.SCORE:
            score = Score(answer, "scripted", "0" * 64, "none", "float64")
            vector = layout.layout_of(found.image.convert("RGB")).astype("<f2").tobytes()
            seen = (Embedding(layout.ENCODER, base64.b64encode(vector).decode()),)
            return Outcome(item.job_id, item.claim, score=score, embeddings=seen, source=found.facts)
        width, height = found.image.size
        enlarged = found.image.resize((width * 4, height * 4), Image.Resampling.NEAREST)
        staged = stage(enlarged, Path(item.staging), "output", "png", settings={"scale": 4})
        return Outcome(item.job_id, item.claim, staged=staged, source=found.facts)
