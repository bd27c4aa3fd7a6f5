"""One worker's bench: keeps models loaded, and takes batches through decode | device | encode."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from PIL import Image

from hotfolder import __version__
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.core.sizes import Target
from hotfolder.engines.device import classify, decode_threads, free_memory, memory_of, pick_device
from hotfolder.engines.generation.requests import GenerationRequest, Hooks
from hotfolder.engines.heat import Heat
from hotfolder.engines.imports import without_collection
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.scoring.stream import Looker, Memory, ahead, judge_all
from hotfolder.engines.sources import opener
from hotfolder.errors import BadInput, GenerationFailed, HotfolderError
from hotfolder.imaging.carried import Density, resized
from hotfolder.imaging.decode import Decoded, open_image
from hotfolder.imaging.encode import stage
from hotfolder.imaging.metadata import explained
from hotfolder.imaging.source import read as read_source
from hotfolder.models.registry import EMBEDDING, LORA, Catalogue
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, SourceFacts, Staged

#: Pictures that are decoded ahead of the upscaler: whole ones, so few.
_AHEAD = 2
#: Threads that encode, at most, and bytes of pixels that may wait for them; of a larger picture one may.
_MOST_ENCODERS = 4
_HELD_BYTES = 256 * 2**20
#: What is said of a batch in work.
_DOING = {Kind.GENERATE: "generating", Kind.SCORE: "scoring", Kind.UPSCALE: "upscaling"}
if TYPE_CHECKING:
    from hotfolder.engines.upscaling.upscaler import Answer, Upscaler

log = logging.getLogger(__name__)
#: Seconds of silence while something is waited for.
_SIGN_OF_LIFE = 5.0
#: Seconds for which one picture may be decoded, or encoded, with signs of life. From then on the worker is silent, and
#: the daemon ends it after executor.hang_seconds: what takes so long does not end.
_LONGEST = {"decoding": 300.0, "encoding": 3600.0}
#: Seconds between two looks at the device's memory.
_METER_EVERY = 1.0
#: Seconds between two steps that are told, but for the last: whoever listens takes time from the device's threads.
_TELL_EVERY = 0.1
R = TypeVar("R")
Emit = Callable[[Outcome | Progress], None]
ShouldStop = Callable[[], bool]
IsCancelled = Callable[[int], bool]


def _never(job_id: int) -> bool:
    return False


class ModelRunner:
    """Works batches on one device. One model per kind of work stays loaded."""

    def __init__(self, settings: RunnerSettings, memory: Memory | None = None) -> None:
        self._settings = settings
        self._memory = memory
        self._catalogue = Catalogue(settings.model_folders, settings.model_entries)
        self._threads = decode_threads(settings)
        self._device: torch.device | None = None
        self._heat = Heat(settings.max_temperature)
        self._models: dict[Kind, tuple[str, Any]] = {}
        self._memory_plans: dict[str, MemoryPlan] = {}  # generator -> the step on which it fitted last
        self._decoders = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        # A card enlarges faster than one thread writes PNG; the threads that decode need cores, too.
        self._encoders = max(1, min(_MOST_ENCODERS, self._threads // 2))
        self._encoder = ThreadPoolExecutor(self._encoders, thread_name_prefix="encode")

    def unload(self) -> None:
        """Drops all models."""
        for kind in list(self._models):
            self._let_go(kind)

    def close(self) -> None:
        self.unload()
        self._decoders.shutdown(cancel_futures=True)
        self._encoder.shutdown()

    def work(self, batch: Batch, emit: Emit, should_stop: ShouldStop, is_cancelled: IsCancelled = _never) -> None:
        """Works a batch, emitting one outcome per item; items after a stop, and cancelled ones, may get none."""
        emit, should_stop = self._metered(emit), self._cooled(should_stop)
        try:
            first = batch.items[0].job_id
            if self._settings.max_temperature:
                self._heat.check(self._own_device())
            if self._models.get(batch.kind, ("",))[0] != batch.model:  # turns are reckoned by what is loaded
                emit(Progress(first, f"loading {batch.model}", loading=True))
            hooks = self._hooks(emit, should_stop, is_cancelled) if batch.kind is Kind.GENERATE else None
            model = self._model(batch.kind, batch.model, hooks, waits=batch.waits_if_occupied)
            emit(Progress(first, _DOING[batch.kind], 0, len(batch.items)))
        except Exception as error:  # noqa: BLE001 - the edge around one job: everything becomes an outcome
            for item in batch.items:
                emit(_failed(item, error))
            return
        match batch.kind:
            case Kind.GENERATE:
                self._generate(model, batch, emit)
            case Kind.SCORE:
                self._score(model, batch, emit, should_stop, is_cancelled)
            case Kind.UPSCALE:
                self._upscale(model, batch, emit, should_stop, is_cancelled)

    def _own_device(self) -> torch.device:
        """Raises DeviceTrouble."""
        if self._device is None:
            self._device = pick_device(self._settings.device)
        return self._device

    def _cooled(self, should_stop: ShouldStop) -> ShouldStop:
        """Stops before the next image, too, where the device has become too hot: the rest goes back."""
        return lambda: should_stop() or (self._device is not None and self._heat.is_too_hot(self._device))

    def _metered(self, emit: Emit) -> Emit:
        """Adds to each report how much of the device's memory is taken, and how hot it is; asked for seldom."""
        asked_at, found, degrees = float("-inf"), ("", 0, 0), 0

        def metered(event: Outcome | Progress) -> None:
            nonlocal asked_at, found, degrees
            if isinstance(event, Progress):
                if self._device is not None and time.monotonic() - asked_at >= _METER_EVERY:
                    asked_at, found = time.monotonic(), (str(self._device), *memory_of(self._device))
                    degrees = self._heat.now(self._device)
                event = replace(
                    event, device=found[0], memory_used=found[1], memory_total=found[2], temperature=degrees
                )
            emit(event)

        return metered

    def _model(self, kind: Kind, name: str, hooks: Hooks | None, *, waits: bool) -> Any:
        loaded = self._models.get(kind)
        if loaded is not None and loaded[0] == name:
            if hooks is not None:
                loaded[1].hooks = hooks
            return loaded[1]
        del loaded
        # The old one goes first, so that both never share the device's memory.
        self._let_go(kind)
        device = self._own_device()
        if waits and device.type == "cuda":
            from hotfolder.engines.occupied import check_is_ours

            generator = self._catalogue.resolve(name, kind) if kind is Kind.GENERATE else None
            check_is_ours(device, generator, self._settings)
        model: Any
        if kind is Kind.SCORE:
            model = ScorerEnsemble.load(name, self._settings, device)
        elif kind is Kind.GENERATE:
            with without_collection(keeps=self._is_first("hotfolder.engines.generation.generator")):
                from hotfolder.engines.generation.generator import Generator

            spec, known = self._catalogue.resolve(name, kind), self._memory_plans.get(name)
            model = Generator(spec, device, self._settings, hooks or Hooks(), known, name)
        else:
            with_twin = self._settings.denoise is not None
            spec = self._catalogue.resolve(name, kind, with_twin=with_twin)
            # spandrel brings torchvision: it takes its time.
            with without_collection(keeps=self._is_first("hotfolder.engines.upscaling.upscaler")):
                from hotfolder.engines.upscaling.upscaler import Upscaler

            model = Upscaler(spec, device, self._settings)
        self._models[kind] = (name, model)
        return model

    def _is_first(self, module: str) -> bool:
        """Whether this module is not imported yet, and no model is loaded that would have to go one day."""
        return module not in sys.modules and not self._models

    def _let_go(self, kind: Kind) -> None:
        """Drops a model, and gives its memory back."""
        name, model = self._models.pop(kind, ("", None))
        if model is None:
            return
        if kind is Kind.GENERATE:
            self._memory_plans[name] = model.step
            model.close()
        del model
        free_memory(self._device)

    def _make_room(self) -> bool:
        """For a generator: other models are loaded again when they are needed."""
        others = [kind for kind in self._models if kind is not Kind.GENERATE]
        for kind in others:
            self._let_go(kind)
        return bool(others)

    def _hooks(self, emit: Emit, should_stop: ShouldStop, is_cancelled: IsCancelled) -> Hooks:
        def report(job_id: int, step: int, steps: int) -> None:
            emit(Progress(job_id, "generating", step, steps))

        def find(kind: str, name: str) -> Path:
            try:
                return self._catalogue.resolve(name, kind).files[0].path
            except HotfolderError as error:  # it was there when the prompt was read
                raise BadInput(error.message, error.fix) from None

        return Hooks(
            report, is_cancelled, should_stop, self._make_room, partial(find, LORA), partial(find, EMBEDDING)
        )

    def _generate(self, model: Any, batch: Batch, emit: Emit) -> None:
        items = {item.job_id: item for item in batch.items}
        pending: list[tuple[Item, Future[Staged], SourceFacts | None]] = []
        together = self._settings.draw_together
        tell = model.hooks.report
        told_at, told = float("-inf"), 0

        def report(job_id: int, step: int, steps: int) -> None:
            nonlocal told_at, told
            _emit_staged(pending, emit, keep=together)
            now = time.monotonic()
            if step in (told, steps) or now - told_at >= _TELL_EVERY:
                told_at, told = now, step
                tell(job_id, step, steps)

        model.hooks = replace(model.hooks, report=report)
        try:
            for drawn in model.draw([GenerationRequest(item.job_id, item.params) for item in batch.items]):
                item = items.pop(drawn.key)
                if drawn.image is None:
                    emit(_failed(item, drawn.error or GenerationFailed("nothing came of it")))
                    continue
                staged = self._encoder.submit(self._stage_drawn, item, drawn.image, drawn.settings or {})
                pending.append((item, staged, None))
                # Those of one drawing come at once: none of them is waited for before the next drawing begins.
                _emit_staged(pending, emit, keep=together)
        except Exception as error:  # noqa: BLE001 - the model could not be loaded on any lower step
            self._let_go(Kind.GENERATE)
            for item in items.values():
                emit(_failed(item, error))
        _emit_staged(pending, emit, keep=0)

    def _stage_drawn(self, item: Item, image: Image.Image, settings: Mapping[str, Any]) -> Staged:
        """For the encoder's thread. Raises what encoding raises."""
        return stage(
            image, Path(item.staging), "output", self._settings.image_format, carried=explained(settings),
            settings=settings,
        )  # fmt: skip

    def _upscale(
        self, model: Upscaler, batch: Batch, emit: Emit, should_stop: ShouldStop, is_cancelled: IsCancelled
    ) -> None:
        s = self._settings
        first_frame = s.animated == "first-frame"
        pending: list[tuple[Item, Future[Staged], SourceFacts | None]] = []
        decoded: dict[int, Decoded] = {}
        items = {item.job_id: item for item in batch.items}

        def read(item: Item) -> Decoded:
            named = bool(item.params.get("named"))
            source = read_source(Path(item.source or ""), s.max_file_bytes, opener(item))
            opened = open_image(source, s.max_pixels, first_frame=first_frame, ours_too=named)
            # Before its pixels are decoded: photographs that stay as they are cost next to nothing.
            target = _target(item.params, s)
            check_megapixels(*opened.image.size, model.scale, target, s.max_output_megapixels)
            return opened.decode(deep=True)

        from hotfolder.engines.upscaling.limits import check_megapixels
        from hotfolder.engines.upscaling.upscaler import Request

        def requests() -> Iterator[Request[int]]:
            for item, future in ahead(batch.items, read, self._decoders, lambda: _AHEAD):
                if should_stop():
                    return
                if is_cancelled(item.job_id):
                    continue
                try:
                    picture = decoded[item.job_id] = _wait_for(future, item, "decoding", emit)
                except Exception as error:  # noqa: BLE001 - as above
                    emit(_failed(item, error))
                    continue
                yield Request(
                    item.job_id, picture.pixels, _target(item.params, s), picture.carried, _format(item.params, s)
                )

        def report(job_id: int, done: int, total: int) -> None:
            emit(Progress(job_id, "upscaling", done, total))

        answers = model.enlarge(requests(), report)
        try:
            for answer in answers:
                item, picture = items.pop(answer.key), decoded.pop(answer.key)
                if answer.pixels is None:
                    emit(_failed(item, answer.error or GenerationFailed("nothing came of it")))
                    continue
                staged = self._encoder.submit(self._stage_enlarged, model, item, picture, answer)
                pending.append((item, staged, picture.facts))
                held = max(1, _HELD_BYTES // max(1, answer.pixels.nbytes))  # by pictures like this one
                _emit_staged(pending, emit, keep=min(self._encoders, held))
        except Exception as error:  # noqa: BLE001 - the device failed: every picture that it had fails
            for job_id in decoded:
                emit(_failed(items[job_id], error))
        _emit_staged(pending, emit, keep=0)

    def _stage_enlarged(self, model: Upscaler, item: Item, picture: Decoded, answer: Answer[int]) -> Staged:
        """For the encoder's thread. Raises what encoding raises."""
        assert answer.pixels is not None
        height, width = answer.pixels.shape[:2]
        settings = {
            "upscaler": model.name, "weights_sha256": model.weights_sha256, "precision": answer.precision,
            "scale": answer.plan.scale, "passes": answer.plan.passes,
        }  # fmt: skip
        if self._settings.denoise is not None:
            settings["denoise"] = self._settings.denoise
        mark, found, dpi = str(item.params.get("mark", "")), picture.carried, item.params.get("dpi")
        if dpi is not None:
            found = replace(found, density=Density(dpi, dpi))
        carried = resized(found, width, height, software=f"hotfolder {__version__} {mark}".strip())
        return stage(
            answer.pixels, Path(item.staging), "output", _format(item.params, self._settings),
            carried=carried, background=self._settings.background, settings=settings,
        )  # fmt: skip

    def _score(
        self,
        ensemble: ScorerEnsemble,
        batch: Batch,
        emit: Emit,
        should_stop: ShouldStop,
        is_cancelled: IsCancelled,
    ) -> None:
        ended = 0

        def tell(event: Outcome) -> None:
            nonlocal ended
            ended += 1
            emit(event)
            emit(Progress(event.job_id, "scoring", ended, len(batch.items)))

        def fail(item: Item, error: Exception) -> None:
            tell(_failed(item, error))

        pictures = []
        for item in batch.items:
            if "words" not in item.params:
                pictures.append(item)
                continue
            try:
                embeddings = ensemble.embed_words(item.params["words"])
                tell(Outcome(item.job_id, item.claim, embeddings=embeddings))
            except Exception as error:  # noqa: BLE001 - the edge around one job
                fail(item, error)
        look = Looker(ensemble, self._settings, self._memory)
        judge_all(ensemble, pictures, look, self._decoders, tell, fail, should_stop, is_cancelled)


def _target(params: Mapping[str, Any], settings: RunnerSettings) -> Target:
    """What a job asks for, else what the configuration says."""
    asked = {key: params[key] for key in ("scale", "long_edge", "megapixels", "paper") if key in params}
    return Target(**asked) if asked else Target(scale=settings.scale)


def _format(params: Mapping[str, Any], settings: RunnerSettings) -> str:
    return str(params.get("format", settings.format))


def _emit_staged(pending: list[tuple[Item, Future[Staged], SourceFacts | None]], emit: Emit, keep: int) -> None:
    """Reports encoded files; all but the last `keep` are waited for, so that the device goes on meanwhile."""
    while pending and (len(pending) > keep or pending[0][1].done()):
        item, future, facts = pending.pop(0)
        try:
            staged = _wait_for(future, item, "encoding", emit)
            emit(Outcome(item.job_id, item.claim, staged=staged, source=facts))
        except Exception as error:  # noqa: BLE001 - as above
            emit(_failed(item, error))


def _wait_for(future: Future[R], item: Item, doing: str, emit: Emit) -> R:
    """The result of a future, and a sign of life now and then, but not for ever: a billion pixels take their time."""
    longest = time.monotonic() + _LONGEST[doing]
    while True:
        try:
            return future.result(timeout=_SIGN_OF_LIFE)
        except FutureTimeout:
            if future.done():
                raise  # of the work itself
            if time.monotonic() < longest:
                emit(Progress(item.job_id, doing))


def _failed(item: Item, error: Exception) -> Outcome:
    ours = classify(error)
    if ours is not error:
        log.warning("job %d: unexpected %s", item.job_id, type(error).__name__, exc_info=error)
    return Outcome(item.job_id, item.claim, error=ours.info())
