"""Draws pictures from prompts: those of one shape together, each from its own seed."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image

from hotfolder.core.batch_key import batch_key
from hotfolder.core.families import Family, Picture, Together
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.device import is_out_of_memory, precision_name
from hotfolder.engines.generation.asked import asked_of
from hotfolder.engines.generation.call import shared_arguments
from hotfolder.engines.generation.loaded import LoadedPipeline
from hotfolder.engines.generation.loading import denoiser_of
from hotfolder.engines.generation.picture import is_failed, to_picture
from hotfolder.engines.generation.record import Record
from hotfolder.engines.generation.requests import GenerationRequest, GenerationResult, Hooks
from hotfolder.engines.generation.steps import Steps, reading_only
from hotfolder.engines.generation.words import count_tokens
from hotfolder.errors import BadInput, FailedPicture
from hotfolder.models.fingerprint import fingerprint, is_called
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

log = logging.getLogger(__name__)


class _NobodyWants(Exception):
    """Every picture of the batch in work was cancelled."""


class Generator:
    """A loaded pipeline.

    `begin` is the step of the ladder to load it on, where that is known from before; else the settings say it, or
    the memory that is free. `name` is how the model was asked for, a path perhaps: that is recorded.
    """

    def __init__(
        self,
        spec: ModelSpec,
        device: torch.device,
        settings: RunnerSettings,
        hooks: Hooks = Hooks(),  # noqa: B008 - frozen
        begin: MemoryPlan | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or spec.name
        self._spec = spec
        self._device = device
        self._settings = settings
        self.hooks = hooks
        self._sha256 = fingerprint(spec)
        self._resident = LoadedPipeline(
            spec, device, settings, lambda: self.hooks.make_room(), begin, self.name, self._sha256
        )
        self._record = Record(self.name, self._sha256, spec, device, settings, self._resident)
        self._together = self._as_many_as_fit()

    @property
    def _family(self) -> Family:
        return self._resident.family

    @property
    def _at_once(self) -> int:
        is_alone = self._family.together is Together.ALONE or self._settings.cache != "off"
        return 1 if is_alone else self._together

    @property
    def step(self) -> MemoryPlan:
        """Of the memory ladder: where it fits."""
        return self._resident.step

    def found_of_order(self, params: Mapping[str, Any]) -> Mapping[str, int]:
        """What is known of channels last for pictures like this, as `core.channels_last` tells it."""
        return self._resident.found_of_order(self._resident.shape_of(params))

    @property
    def denoiser(self) -> torch.nn.Module:
        """The network that takes the noise away, as it is loaded just now."""
        network: torch.nn.Module = denoiser_of(self._resident.pipeline)
        return network

    def close(self) -> None:
        """Lets go of everything."""
        self._resident.close()

    def draw(self, orders: Sequence[GenerationRequest]) -> Iterator[GenerationResult]:
        """What became of each order, as it is done; those that a stop, or a cancellation, comes before get nothing.

        The noise of each picture comes from a generator of its own on the CPU, so that the same seed gives the same
        picture whatever is drawn beside it; in a batch, but for a grey level here and there.
        """
        readable = []
        for order in orders:
            try:
                readable.append((order, (batch_key(order.params), self._length(order.params))))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this order's outcome
                yield GenerationResult(order.key, error=error)
        for _, group in itertools.groupby(readable, key=lambda each: each[1]):
            rest = [order for order, _ in group]
            alone = 0  # so many of the rest are drawn one by one
            for order in [each for each in rest if not self._is_meant(each.params.get("model_sha256"))]:
                rest.remove(order)
                yield GenerationResult(order.key, error=self._another_model(order))
            if not self.hooks.should_stop():
                self._read_ahead(rest)
            while rest and not self.hooks.should_stop():
                rest = [order for order in rest if not self.hooks.is_cancelled(order.key)]
                batch = rest[: 1 if alone else self._at_once]
                if not batch:
                    break
                drawn: list[GenerationResult] = []
                try:
                    for each in self._draw_batch(batch):
                        drawn.append(each)
                        yield each
                except _NobodyWants:
                    pass
                except Exception as error:  # noqa: BLE001 - whatever it is, it is these orders' outcome
                    self._resident.forget()
                    traceback.clear_frames(error.__traceback__)  # what they hold would not be free otherwise
                    done = {each.key for each in drawn}
                    left = [order for order in batch if order.key not in done]
                    if is_out_of_memory(error) and self._make_do(
                        len(batch), self._resident.shape_of(batch[0].params)
                    ):
                        rest = left + rest[len(batch) :]
                        continue
                    if len(left) > 1 and not is_out_of_memory(error):
                        # One of them is to blame, and nobody knows which.
                        alone = len(left)
                        rest = left + rest[len(batch) :]
                        continue
                    yield from (GenerationResult(order.key, error=error) for order in left)
                rest = rest[len(batch) :]
                alone = max(0, alone - 1)

    def _pieces(self, params: Mapping[str, Any]) -> int:
        """In how many pieces a prompt is read: beside a longer one it would get empty ones, and look otherwise."""
        texts = self._text(params, "prompt"), self._text(params, "negative_prompt")
        words = self._resident.words
        return max(map(words.pieces, texts)) if words is not None else 0

    def _text(self, params: Mapping[str, Any], key: str) -> str:
        """As the tokenizers read it."""
        return self._resident.with_inversions(params.get(key) or "", self.hooks.embedding)

    def _length(self, params: Mapping[str, Any]) -> int:
        """Of a prompt, where only those of one length may be drawn together; 0 where that does not matter."""
        if self._family.together is Together.EQUAL_LENGTH:
            self._resident.ensure()
            return count_tokens(self._resident.pipeline, self._family, params.get("prompt") or "")
        return self._pieces(params)

    def _is_meant(self, digest: str | None) -> bool:
        """Whether a prompt that names this digest, or the beginning of one, means this model."""
        return digest is None or is_called(digest, self._spec, self._sha256)

    def _another_model(self, order: GenerationRequest) -> BadInput:
        wanted = str(order.params["model_sha256"])[:10]
        return BadInput(
            f"'{self.name}' is not the model that this was made with: its hash is {self._sha256[:10]}, not {wanted}",
            "get that one, or write a prompt file",
        )

    def draw_one(self, params: Mapping[str, Any]) -> tuple[Image.Image, Mapping[str, Any]]:
        """One picture, and every setting it was made with. Raises what went wrong."""
        (drawn,) = self.draw([GenerationRequest(0, params)])
        if drawn.image is None or drawn.settings is None:
            raise drawn.error or FailedPicture("nothing came of it")
        return drawn.image, drawn.settings

    def _make_do(self, count: int, shape: tuple[int, int]) -> bool:
        """After the memory ran out on `count` pictures at once: whether there is another way to try.

        Where it was prompts that took it, fewer pictures would not help.
        """
        reading = self._resident.ran_out_reading()
        self._resident.tidy()
        if self.hooks.make_room():
            log.warning("%s: out of memory; others made room for it", self.name)
            return True
        if count > 1 and not reading:
            self._resident.too_many(count, shape)
            self._together = count // 2
            log.warning("%s: out of memory; from now on %d at once", self.name, self._together)
            return True
        if not self._resident.step_down(shape):
            return False
        self._together = self._as_many_as_fit()
        return True

    def _as_many_as_fit(self) -> int:
        """How many pictures are drawn at once, by the memory that the step in force leaves."""
        return self._resident.together(max(1, self._settings.draw_together))

    def _draw_batch(self, batch: Sequence[GenerationRequest]) -> Iterator[GenerationResult]:
        self._resident.ensure()
        asked = asked_of(self.name, self._spec.defaults, self._family, self._settings, batch[0].params)
        pipeline, arguments = self._prepare(asked)
        pixels = self._run(pipeline, arguments, asked, batch)
        for index, order in enumerate(batch):
            if self.hooks.is_cancelled(order.key):
                continue
            picture, precision = pixels[index], self._resident.dtype
            if is_failed(picture):
                try:
                    picture, precision = self._again_in_float32(asked, order), torch.float32
                except _NobodyWants:
                    continue
                except FailedPicture as error:
                    yield GenerationResult(order.key, error=error)
                    continue
            try:
                image = to_picture(picture, self._settings.background)
                how = {"precision": precision_name(precision), "batch_index": index, "batch_size": len(batch)}
                recorded = {**self._record.of(order, asked, pipeline, image), **how}
            except Exception as error:  # noqa: BLE001 - of this one alone
                yield GenerationResult(order.key, error=error)
                continue
            yield GenerationResult(order.key, image, recorded)

    def _read_ahead(self, orders: Sequence[GenerationRequest]) -> None:
        """The prompts of several batches at once, where the text encoders have to come for it and the denoiser to go.

        What goes wrong here, goes wrong again where it is said whose picture it is.
        """
        size = self._at_once
        if self._resident.turns is None or len(orders) <= size or orders[0].params.get("init_image") is not None:
            return
        try:
            with self._resident.turns.at_once():
                for start in range(0, len(orders), size):
                    batch = orders[start : start + size]
                    asked = asked_of(self.name, self._spec.defaults, self._family, self._settings, batch[0].params)
                    pipeline, arguments = self._prepare(asked)
                    with self._resident.metered_reading(), torch.inference_mode(), reading_only(pipeline):
                        pipeline(**arguments, **self._words_of(pipeline, asked, batch))
        except Exception as error:  # noqa: BLE001 - see above
            self._resident.ran_out_reading()
            traceback.clear_frames(error.__traceback__)
            self._resident.tidy()

    def _prepare(self, asked: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The pipeline for this work, with its LoRA and its scheduler, and the arguments that all pictures share."""
        if asked["sampler"] is not None and not self._resident.takes_samplers:
            raise BadInput(f"{self.name} draws with a sampler of its own only", "leave --sampler out")
        loras = {self.hooks.lora(name): weight for name, weight in asked["lora"].items()}
        pipeline = self._resident.made_up(loras, asked["sampler"], from_image="picture" in asked)
        length = self._spec.defaults.get("max_sequence_length")
        return pipeline, shared_arguments(pipeline, self._family, asked, length)

    def _run(
        self,
        pipeline: Any,
        arguments: Mapping[str, Any],
        asked: dict[str, Any],
        batch: Sequence[GenerationRequest],
    ) -> torch.Tensor:
        """(n, 3 or 4, h, w), 0 to 1 where all went well. How it was drawn is added to `asked`."""

        def before_step() -> None:
            if all(self.hooks.is_cancelled(order.key) for order in batch):
                raise _NobodyWants

        def after_step(step: int, total: int) -> None:
            for order in batch:
                self.hooks.report(order.key, step, total)

        more: dict[str, Any] = {}
        if "picture" in asked:
            # A list is a set of references, for every prompt; of pictures to begin from, it is one for each.
            is_one = self._family.picture is Picture.REFERENCE
            more["image"] = asked["picture"] if is_one else [asked["picture"]] * len(batch)
        seeds = [torch.Generator("cpu").manual_seed(order.params["seed"]) for order in batch]
        steps = Steps(pipeline, before_step, after_step)
        self._resident.forget()  # whatever became of the picture before
        try:
            shape = self._resident.shape_of(batch[0].params)
            with self._resident.metered(len(batch), shape), self._resident.in_order(shape), torch.inference_mode():
                more |= self._words_of(pipeline, asked, batch)
                result = pipeline(**arguments, **more, generator=seeds, output_type="pt")
        except _NobodyWants:
            self._resident.tidy()
            raise
        asked["steps_drawn"] = steps.total
        if self._family.bins and steps.latents is not None:
            height, width = (side * pipeline.vae_scale_factor for side in steps.latents)
            asked["drawn"] = (width, height)
        pixels: torch.Tensor | None = getattr(result, "images", None)
        if pixels is None:
            raise BadInput(f"{type(pipeline).__name__} gives no pictures", "use a text-to-image model")
        return pixels

    def _words_of(
        self, pipeline: Any, asked: Mapping[str, Any], batch: Sequence[GenerationRequest]
    ) -> dict[str, Any]:
        """The prompts as arguments: words; or what was read of them, where CLIP has to be helped."""
        prompts = [self._text(order.params, "prompt") for order in batch]
        negative = self._text(batch[0].params, "negative_prompt")
        if not negative and self._family.no_negative and self._family.is_guided(asked["guidance"]):
            negative = self._family.no_negative
        words, pieces = self._resident.words, self._pieces(batch[0].params)
        if words is not None and pieces:
            assert self._resident.embeddings is not None
            found: dict[str, Any] = self._resident.embeddings.recall(
                ("compel", *prompts, negative, pieces),
                partial(words.embedded, pipeline, prompts, negative, pieces),
            )
            return found
        plain = words.plain if words is not None else str
        given: dict[str, Any] = {"prompt": [plain(prompt) for prompt in prompts]}
        if negative:
            given["negative_prompt"] = [plain(negative)] * len(batch)
        return given

    def _again_in_float32(self, asked: dict[str, Any], order: GenerationRequest) -> torch.Tensor:
        """The picture drawn once more, alone, in full precision. Raises FailedPicture when that fails, too."""
        failed = FailedPicture(
            f"model '{self.name}' gave a black picture, or none, for seed {order.params['seed']}",
            "try another seed, another size, or executor.precision = 'float32'",
        )
        if not self._resident.can_be_float32:
            raise failed
        log.warning("%s: seed %d came out black; again in float32", self.name, order.params["seed"])
        try:
            with self._resident.in_float32():
                pipeline, arguments = self._prepare(asked)
                (pixels,) = self._run(pipeline, arguments, asked, [order])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # what they hold would not be free otherwise
            self._resident.ran_out_reading()
            self._resident.tidy()
            raise failed from None
        if is_failed(pixels):
            raise failed
        return pixels
