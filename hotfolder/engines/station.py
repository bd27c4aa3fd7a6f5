"""One worker's bench: keeps models loaded, and takes batches through decode | device | encode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from hotfolder.engines.device import classify, decode_threads, pick_device
from hotfolder.engines.scoring.panel import Panel
from hotfolder.engines.scoring.stream import Looker, Memory, ahead, judge_all
from hotfolder.imaging.decode import decode
from hotfolder.imaging.encode import stage
from hotfolder.imaging.metadata import text_chunks
from hotfolder.models.registry import resolve
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, SourceFacts, Staged, StationSettings

log = logging.getLogger(__name__)
Emit = Callable[[Outcome | Progress], None]
ShouldStop = Callable[[], bool]


class Station:
    """Works batches on one device. One model per kind of work stays loaded."""

    def __init__(self, settings: StationSettings, memory: Memory | None = None) -> None:
        self._settings = settings
        self._memory = memory
        self._threads = decode_threads(settings)
        self._device: torch.device | None = None
        self._models: dict[Kind, tuple[str, Any]] = {}
        self._decoders = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
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
                self._score(model, batch, emit, should_stop)
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
        model: Any
        if kind is Kind.SCORE:
            model = Panel.load(name, self._settings, self._device)
        elif kind is Kind.GENERATE:
            from hotfolder.engines.generate import Generator

            model = Generator(resolve(name, kind, self._settings.model_folders), self._device)
        else:
            from hotfolder.engines.upscale import Upscaler

            model = Upscaler(resolve(name, kind, self._settings.model_folders), self._device)
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
        decoding = ahead(
            batch.items,
            lambda i: decode(Path(i.source or ""), s.max_pixels),
            self._decoders,
            lambda: self._threads,
        )
        for item, future in decoding:
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

    def _score(self, panel: Panel, batch: Batch, emit: Emit, should_stop: ShouldStop) -> None:
        ended = 0

        def tell(event: Outcome) -> None:
            nonlocal ended
            ended += 1
            emit(event)
            emit(Progress(event.job_id, "scoring", ended, len(batch.items)))

        def fail(item: Item, error: Exception) -> None:
            tell(_failed(item, error))

        look = Looker(panel, self._settings, self._memory)
        judge_all(panel, batch.items, look, self._decoders, tell, fail, should_stop)

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
