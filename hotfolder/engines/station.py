"""One worker's bench: keeps models loaded, and takes batches through decode | device | encode."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from hotfolder.engines.device import classify, pick_device
from hotfolder.errors import ScoreFailed
from hotfolder.imaging.decode import decode, to_rgb
from hotfolder.imaging.encode import stage
from hotfolder.imaging.metadata import text_chunks
from hotfolder.models.registry import resolve
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, SourceFacts, Staged, StationSettings

#: Our own enlarged images may have so many times the pixels that a dropped one may have.
_OWN_PIXELS = 64
log = logging.getLogger(__name__)
Emit = Callable[[Outcome | Progress], None]
ShouldStop = Callable[[], bool]


class Station:
    """Works batches on one device. One model per kind of work stays loaded."""

    def __init__(self, settings: StationSettings) -> None:
        self._settings = settings
        self._device: torch.device | None = None
        self._models: dict[Kind, tuple[str, Any]] = {}
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")

    def close(self) -> None:
        self._models.clear()
        self._decoders.shutdown(cancel_futures=True)
        self._encoder.shutdown()

    def work(self, batch: Batch, emit: Emit, should_stop: ShouldStop) -> None:
        """Works a batch, emitting one outcome per item; items after a stop get none."""
        try:
            emit(Progress(batch.items[0].job_id, f"loading {batch.model}"))
            model = self._model(batch.kind, batch.model)
        except Exception as error:  # noqa: BLE001 - the edge around one job: everything becomes an outcome
            for item in batch.items:
                emit(_failed(item, error))
            return
        match batch.kind:
            case Kind.GENERATE:
                self._generate(model, batch, emit, should_stop)
            case Kind.SCORE:
                self._score(model, batch, emit)
            case Kind.UPSCALE:
                self._upscale(model, batch, emit, should_stop)

    def _model(self, kind: Kind, name: str) -> Any:
        loaded = self._models.get(kind)
        if loaded is not None and loaded[0] == name:
            return loaded[1]
        # The old one goes first, so that both never share the device's memory.
        self._models.pop(kind, None)
        del loaded
        if self._device is None:
            self._device = pick_device(self._settings.device)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        spec = resolve(name, kind, self._settings.model_folders)
        model: Any
        if kind is Kind.GENERATE:
            from hotfolder.engines.generate import Generator

            model = Generator(spec, self._device)
        elif kind is Kind.SCORE:
            from hotfolder.engines.scoring import load_scorer

            model = load_scorer(spec, self._device)
        else:
            from hotfolder.engines.upscale import Upscaler

            model = Upscaler(spec, self._device)
        self._models[kind] = (name, model)
        return model

    def _generate(self, model: Any, batch: Batch, emit: Emit, should_stop: ShouldStop) -> None:
        pending: list[tuple[Item, Future[Staged], SourceFacts | None]] = []
        for item in batch.items:
            if should_stop():
                break
            try:
                image, settings = model.draw(item.params, _reporter(item, "generating", emit))
            except Exception as error:  # noqa: BLE001 - as above
                emit(_failed(item, error))
                continue
            chunks = text_chunks(settings)
            pending.append((item, self._stage(image, item, "png", text=chunks, settings=settings), None))
            _emit_staged(pending, emit, keep=1)
        _emit_staged(pending, emit, keep=0)

    def _upscale(self, model: Any, batch: Batch, emit: Emit, should_stop: ShouldStop) -> None:
        s = self._settings
        pending: list[tuple[Item, Future[Staged], SourceFacts | None]] = []
        for item, future in self._ahead(batch.items, lambda i: decode(Path(i.source or ""), s.max_pixels)):
            if should_stop():
                break
            try:
                decoded = future.result()
                report = _reporter(item, "upscaling", emit)
                image = model.enlarge(decoded.image, s.tile, s.overlap, report)
            except Exception as error:  # noqa: BLE001 - as above
                emit(_failed(item, error))
                continue
            settings = {"upscaler": model.name, "weights_sha256": model.weights_sha256, "scale": model.scale}
            staged = self._stage(
                image, item, s.format, text=decoded.text, icc_profile=decoded.icc_profile, settings=settings
            )
            pending.append((item, staged, decoded.facts))
            _emit_staged(pending, emit, keep=1)
        _emit_staged(pending, emit, keep=0)

    def _score(self, model: Any, batch: Batch, emit: Emit) -> None:
        def read(item: Item) -> tuple[Any, SourceFacts]:
            # What we enlarged ourselves may be larger than what we take from others.
            limit = self._settings.max_pixels * (_OWN_PIXELS if item.params.get("measure") else 1)
            decoded = decode(Path(item.source or ""), limit)
            return model.prepare(to_rgb(decoded.image, self._settings.background)), decoded.facts

        ready: list[tuple[Item, Any, SourceFacts]] = []
        for item, future in self._ahead(batch.items, read):
            emit(Progress(item.job_id, "scoring", len(ready), len(batch.items)))
            try:
                view, facts = future.result()
                ready.append((item, view, facts))
            except Exception as error:  # noqa: BLE001 - as above
                emit(_failed(item, error))
        if not ready:
            return
        try:
            scores = model.rate([view for _, view, _ in ready])
        except Exception as error:  # noqa: BLE001 - as above
            for item, _, _ in ready:
                emit(_failed(item, error))
            return
        for (item, _, facts), score in zip(ready, scores, strict=True):
            if not math.isfinite(score.value):
                silent = ScoreFailed(f"scorer '{score.scorer}' gave no number", "look at the picture")
                emit(_failed(item, silent))
                continue
            emit(Outcome(item.job_id, item.claim, score=score, source=facts))

    def _ahead(self, items: tuple[Item, ...], read: Callable[[Item], Any]) -> Iterator[tuple[Item, Future[Any]]]:
        """Items with their decoding under way, never more of it than there are threads."""
        window = self._settings.decode_threads
        futures = [self._decoders.submit(read, item) for item in items[:window]]
        try:
            for index, item in enumerate(items):
                future = futures.pop(0)
                yield item, future
                if index + window < len(items):
                    futures.append(self._decoders.submit(read, items[index + window]))
        finally:
            for future in futures:
                future.cancel()

    def _stage(self, image: Any, item: Item, format_: str, **options: Any) -> Future[Staged]:
        return self._encoder.submit(stage, image, Path(item.staging), "output", format_, **options)


def _emit_staged(pending: list[tuple[Item, Future[Staged], SourceFacts | None]], emit: Emit, keep: int) -> None:
    """Reports encoded files; all but the last `keep` are waited for, so that the device goes on meanwhile."""
    while len(pending) > keep:
        item, future, facts = pending.pop(0)
        try:
            emit(Outcome(item.job_id, item.claim, staged=future.result(), source=facts))
        except Exception as error:  # noqa: BLE001 - as above
            emit(_failed(item, error))


def _reporter(item: Item, stage_name: str, emit: Emit) -> Callable[[int, int], None]:
    return lambda step, steps: emit(Progress(item.job_id, stage_name, step, steps))


def _failed(item: Item, error: Exception) -> Outcome:
    ours = classify(error)
    if ours is not error:
        log.warning("job %d: unexpected %s", item.job_id, type(error).__name__, exc_info=error)
    return Outcome(item.job_id, item.claim, error=ours.info())
