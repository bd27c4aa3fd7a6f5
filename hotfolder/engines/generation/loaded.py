"""A generator's pipeline as it lies in memory: on one step of the ladder, further down when the memory runs out."""

from __future__ import annotations

import inspect
import itertools
import logging
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import diffusers
import torch

from hotfolder.core.families import Family, Guidance, Picture, family_called
from hotfolder.core.memory_plan import AT_REST, IN_FEWER_BITS, ONE_BY_ONE, MemoryPlan, next_step
from hotfolder.core.samplers import SAMPLERS
from hotfolder.engines.device import free_memory, free_of, is_out_of_memory
from hotfolder.engines.generation.beginning import Beginning
from hotfolder.engines.generation.channels_last import ChannelsLast
from hotfolder.engines.generation.embeddings import Embeddings
from hotfolder.engines.generation.loading import (
    denoiser_of,
    forget_kept,
    is_quantised,
    load,
    place,
    takes_turns,
)
from hotfolder.engines.generation.lora import LoraAdapters
from hotfolder.engines.generation.metering import Meter
from hotfolder.engines.generation.pipelines import from_picture
from hotfolder.engines.generation.residence import Turns
from hotfolder.engines.generation.speed import check_cache, is_compiled, slow_down, speed_up, stay
from hotfolder.engines.generation.textual_inversion import TextualInversions
from hotfolder.engines.generation.words import ClipWords, without_false_alarm
from hotfolder.errors import BadInput
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

log = logging.getLogger(__name__)
_NARROW = (torch.float16, torch.bfloat16)
#: Steps on which nothing can be made wider: in groups, layers come back from copies as they were.
_AS_THEY_ARE = (*IN_FEWER_BITS, MemoryPlan.GROUP)


class LoadedPipeline:
    """`begin`, `name` and the rest are as for Generator; `make_room` is that of Hooks."""

    def __init__(
        self,
        spec: ModelSpec,
        device: torch.device,
        settings: RunnerSettings,
        make_room: Callable[[], bool],
        begin: MemoryPlan | None,
        name: str,
        sha256: str,
    ) -> None:
        self._name = name
        self._spec = spec
        self._device = device
        self._settings = settings
        self._make_room = make_room
        self._beginning = Beginning(spec, device, settings, sha256)
        self._learnt = self._beginning.learnt
        self.dtype = self._beginning.dtype
        self.family: Family = family_called(spec.family)
        self._steps = self._beginning.steps
        self.pipeline: Any = None
        self._from_image: Any = None  # the same parts, for work that begins from a picture
        self._own_scheduler: Any = None
        self._adapters: Any = None
        self._reads_in = self.dtype
        self.embeddings: Embeddings | None = None
        self.turns: Turns | None = None  # where text encoders and denoiser are not on the device together
        self._inversions: Any = None
        self.words: ClipWords | None = None  # of a family that reads weights
        self.usual_guidance = 0.0  # of the pipeline, where neither prompt nor model says any
        self._channels_last: ChannelsLast | None = None
        self._meter: Meter | None = None  # where the device can be asked
        self._ran_out_reading = False
        self._free = self._reserved = 0  # bytes on the device before the pipeline came
        self._look_at_memory()
        self.step = self._begin(begin)
        self.ensure()

    def _begin(self, known: MemoryPlan | None) -> MemoryPlan:
        wanted = self._settings.memory
        if wanted != "auto":
            # On a CPU there is nowhere to offload to. Of 4 bits, loading says why they cannot be.
            return (
                MemoryPlan.TILED
                if wanted in (MemoryPlan.OFFLOAD, MemoryPlan.GROUP) and wanted not in self._steps
                else MemoryPlan(wanted)
            )
        return known if known in self._steps else self._beginning.at(self._free)

    def _look_at_memory(self) -> None:
        self._free = free_of(self._device)
        if self._device.type == "cuda":
            self._reserved = torch.cuda.memory_reserved(self._device)

    def shape_of(self, params: Mapping[str, Any]) -> tuple[int, int]:
        """Width and height that are asked for, or the model's usual ones."""
        return self._beginning.shape_of(params)

    def together(self, wanted: int) -> int:
        """How many pictures may be drawn at once, by what was learnt before."""
        return self._learnt.together(self.step, self._beginning.usual_shape, wanted, self._free)

    def too_many(self, count: int, shape: tuple[int, int]) -> None:
        """So many pictures at once took more memory than there is."""
        free = self._free
        if self._device.type == "cuda":  # what others have taken since the pipeline came was not to be had
            free = min(free, free_of(self._device) + torch.cuda.memory_reserved(self._device) - self._reserved)
        self._learnt.failed(self.step, shape, count, free)

    @contextmanager
    def metered(self, count: int, shape: tuple[int, int]) -> Iterator[None]:
        """While so many pictures are drawn: what they take is learnt, where the device can be asked."""
        if self._meter is None or self._reads_in is not self.dtype:  # full precision takes twice as much
            yield
            return
        with self._meter.drawing(lambda peak: self._learnt.worked(self.step, shape, count, peak)):
            yield

    def in_order(self, shape: tuple[int, int]) -> AbstractContextManager[None]:
        """While pictures of this shape are drawn: with channels last, where that is asked for or better."""
        assert self._channels_last is not None
        return self._channels_last.drawing(shape, may_try=self._reads_in is self.dtype)

    def found_of_order(self, shape: tuple[int, int]) -> Mapping[str, int]:
        """What is known of channels last for this shape, as `core.channels_last` tells it."""
        return self._channels_last.found(shape) if self._channels_last is not None else {}

    def metered_reading(self) -> AbstractContextManager[None]:
        """While prompts are read ahead of the pictures, whose need that is, too."""
        return self._meter.reading() if self._meter is not None else nullcontext()

    def ensure(self) -> None:
        """Loads it, unless it is loaded; on the first step from the present one on that has memory enough."""
        while self.pipeline is None:
            self._look_at_memory()
            try:
                self._set_up()
            except Exception as error:
                traceback.clear_frames(error.__traceback__)  # they hold what was loaded so far
                self.close()
                if not is_out_of_memory(error) or not (self._make_room() or self.step_down()):
                    raise

    def _set_up(self) -> None:
        """Everything on the present step; the pipeline is there once all of it is. Raises what `load` raises."""
        pipeline = load(self._spec, self._device, self.dtype, self.step)
        without_false_alarm(pipeline)
        self._own_scheduler = pipeline.scheduler
        self._adapters = LoraAdapters(pipeline, self.dtype)
        if takes_turns(pipeline, self._device, self.step):
            self.turns = Turns(pipeline, self._device)
        if self._device.type == "cuda":
            one_by_one = self.step in ONE_BY_ONE
            self._meter = Meter(pipeline, self._device, one_by_one=one_by_one)
        self.embeddings = Embeddings(self._state_of_encoders, self.reading)
        self.embeddings.watch(pipeline)
        self._inversions = TextualInversions(pipeline, self._spec)
        self.words = ClipWords(pipeline) if self.family.reads_weights else None
        usual = inspect.signature(pipeline.__call__).parameters.get(self.family.argument)
        self.usual_guidance = (usual.default if usual is not None else None) or 0.0
        if self.family.guidance is Guidance.NONE:
            self.usual_guidance = self.family.defaults["guidance"]
        try:
            speed_up(pipeline, self._settings)
            self._channels_last = ChannelsLast(
                pipeline, self._device, self._order_wanted(), self._beginning.order_key
            )
            if is_compiled(self._settings, self._device):
                denoiser_of(pipeline).compile_repeated_blocks()
        except Exception:
            slow_down(pipeline, self._settings)
            raise
        if self.step in AT_REST:
            stay(pipeline)
        self.pipeline = pipeline

    def _order_wanted(self) -> str:
        """generate.channels_last, where it can be tried: what is compiled would be compiled anew for each trial."""
        wanted = self._settings.channels_last
        is_still = self.step in AT_REST and not is_compiled(self._settings, self._device)
        return "off" if wanted == "auto" and not is_still else wanted

    def close(self) -> None:
        """Lets go of everything."""
        if self.pipeline is not None:
            slow_down(self.pipeline, self._settings)
            forget_kept(self.pipeline)
        self.pipeline = self._from_image = self._own_scheduler = self._adapters = None
        self._inversions = self.words = self.embeddings = self.turns = self._meter = None
        self._channels_last = None
        free_memory(self._device)

    def step_down(self, shape: tuple[int, int] | None = None) -> bool:
        """Whether there is a step below: then it is loaded on that, when it is needed next.

        `shape` is that of the picture that did not fit; None where the weights did not.
        """
        below = next_step(self._steps, self.step) if self._settings.memory == "auto" else None
        if below is None:
            return False
        log.warning("%s: out of memory on step '%s'; goes on with '%s'", self._name, self.step, below)
        # A CPU's memory is everybody's: that it ran out there once, because of somebody else perhaps, is no reason to
        # begin the next time on a step that changes every picture.
        if self._device.type == "cuda" or below not in IN_FEWER_BITS:
            self.too_many(1, shape or self._beginning.usual_shape)
        self.close()
        self.step = below
        return True

    def _state_of_encoders(self) -> Hashable:
        return self._reads_in, self._adapters.on_encoders

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While prompts are read."""
        try:
            with self.turns.reading() if self.turns is not None else nullcontext():
                yield
        except Exception as error:
            self._ran_out_reading = is_out_of_memory(error)
            raise

    def ran_out_reading(self) -> bool:
        """Whether it was prompts that took too much memory; asked once after each error."""
        found, self._ran_out_reading = self._ran_out_reading, False
        return found

    def forget(self) -> None:
        """After a picture that was not finished: what a cache has of it."""
        if self._settings.cache != "off" and self.pipeline is not None:
            denoiser_of(self.pipeline)._reset_stateful_cache()

    def tidy(self) -> None:
        """After an error in the middle: what was moved onto the device for a step goes back."""
        if self.pipeline is not None:
            self.pipeline.maybe_free_model_hooks()
        free_memory(self._device)

    def made_up(self, loras: Mapping[Path, float], sampler: str | None, *, from_image: bool) -> Any:
        """The pipeline with just these LoRA and this sampler. Raises BadInput for a LoRA that does not fit."""
        if loras and not hasattr(self.pipeline, "load_lora_weights"):
            raise BadInput(f"{self._name} takes no LoRA", "leave it out")
        self._adapters.activate(loras)
        pipeline = self.pipeline
        if from_image and self.family.picture is not Picture.REFERENCE:
            if self._from_image is None:
                other = from_picture(pipeline, self.family)
                other.set_progress_bar_config(disable=True)
                assert self.embeddings is not None
                self.embeddings.watch(other)
                place(other, self._device, self.step)
                if self.step in AT_REST:
                    stay(other)
                self._from_image = other
            check_cache(self._from_image, self._settings)
            pipeline = self._from_image
        if self.turns is not None:
            self.turns.settle()  # memory may have run out while they moved
        # A new one each time: they keep what the last picture left.
        own = self._own_scheduler
        if sampler is None:
            pipeline.scheduler = type(own).from_config(own.config)
        else:
            name, settings = SAMPLERS[sampler]
            pipeline.scheduler = getattr(diffusers, name).from_config(own.config, **settings)
        return pipeline

    def with_inversions(self, prompt: str, find: Callable[[str], Path]) -> str:
        """The prompt with tokens in the place of textual inversions. Raises BadInput for one that does not fit."""
        self.ensure()
        text: str = self._inversions.applied(prompt, find)
        return text

    @property
    def takes_samplers(self) -> bool:
        """Whether others than its own scheduler may be used: some models of flow draw garbage with them."""
        predicts = self._own_scheduler.config.get("prediction_type")
        return self.family.samplers and predicts in ("epsilon", "v_prediction")

    @property
    def fixed_steps(self) -> int | None:
        """So many steps are drawn, whatever is asked; None where the number is free."""
        sigmas = self.pipeline.config.get("sample_sigmas")
        return len(sigmas) if sigmas else None

    @property
    def can_be_float32(self) -> bool:
        """Whether more precision is to be had."""
        is_kept = any(map(is_quantised, self.pipeline.components.values()))
        return self.dtype is not torch.float32 and self.step not in _AS_THEY_ARE and not is_kept

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """All of it in full precision, for a while."""
        parts = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        tensors = itertools.chain.from_iterable((*part.parameters(), *part.buffers()) for part in parts)
        # Not by its `to`: on the way back that would also round what was float32 before, such as frequencies.
        narrow = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in _NARROW]
        try:
            for tensor, _ in narrow:
                tensor.data = tensor.data.float()
            self._reads_in = torch.float32
            yield
        finally:
            self._reads_in = self.dtype
            for tensor, dtype in narrow:
                tensor.data = tensor.data.to(dtype)  # exact: every value was one of these before
