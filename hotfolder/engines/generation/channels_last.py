"""Convolutions with channels last, where that is faster and shows in no more than a grey level.

With 'auto' the first call of a network at a shape is made in both orders, before any picture of that shape is done:
all of them are drawn in the order that is kept. What was found is remembered, so that it stays for the next start and
for other workers. How many pictures are drawn together does not matter for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hotfolder.core import channels_last as remembered
from hotfolder.core.channels_last import Trial
from hotfolder.engines.device import free_memory, synchronise
from hotfolder.errors import UsageError
from hotfolder.files.remembered import Remembered

log = logging.getLogger(__name__)
Shape = tuple[int, int]  # width and height, in pixels
Same = Callable[[torch.Tensor, torch.Tensor], bool]
#: A network with less than this share of its weights in convolutions gains nothing.
_SHARE = 0.05
#: Seconds of a call: below the first it is timed so many times more, below the second once more.
_SHORT, _LONG = 0.3, 3.0
_MORE = 3
#: How far the denoiser's values may be apart, as a part of the largest. Half precision is further off by itself.
_CLOSE = 1e-3
#: Which share of the values of a picture may be a level off.
_FEW = 1e-3


class ChannelsLast:
    """Of one loaded pipeline. `setting` is generate.channels_last; `of` gives the key under which a
    shape is remembered.

    Raises UsageError for 'on' where nothing of the model has convolutions.
    """

    def __init__(
        self,
        pipeline: Any,
        device: torch.device,
        setting: str,
        of: Callable[[Shape], str],
        path: Path | None = None,
    ) -> None:
        self._setting = setting
        self._of = of
        self._file = Remembered(remembered.FILE, path)
        self._known: dict[Shape, dict[str, int]] = {}
        networks: dict[str, tuple[Any, Same]] = {
            "denoiser": (getattr(pipeline, "unet", None), _are_close),
            "vae": (getattr(getattr(pipeline, "vae", None), "decoder", None), _look_the_same),
        }
        self._parts = {
            name: _Part(network, is_same, device)
            for name, (network, is_same) in networks.items()
            if isinstance(network, torch.nn.Module) and _has_convolutions(network)
        }
        if setting == "on":
            if not self._parts:
                raise UsageError(
                    f"generate.channels_last = 'on' has no effect on {type(pipeline).__name__}",
                    "set generate.channels_last to 'auto'",
                )
            for part in self._parts.values():
                part.put(True)

    @contextmanager
    def drawing(self, shape: Shape, *, may_try: bool = True) -> Iterator[None]:
        """While pictures of this shape are drawn: each part in the order that is known to be better, or tried."""
        if self._setting != "auto":
            yield
            return
        with ExitStack() as stack:
            known = self.found(shape)
            for name, part in self._parts.items():
                if name in known:
                    part.put(bool(known[name]))
                elif may_try:
                    stack.enter_context(part.trying(partial(self._keep, shape, name)))
                else:
                    part.put(False)
            yield

    def found(self, shape: Shape) -> dict[str, int]:
        """What is known of a shape, as `core.channels_last` tells it. The file is asked once for each."""
        if shape not in self._known:
            self._known[shape] = dict(self._file.read().get(self._of(shape), {}))
        return self._known[shape]

    def _keep(self, shape: Shape, name: str, trial: Trial | None) -> bool:
        """Which order it is from now on. What another worker found meanwhile holds: both are to draw the same."""
        if trial is None:  # the memory does not suffice: for as long as this is loaded
            self._known[shape][name] = 0
            return False
        own = trial.numbers(name)
        key = self._of(shape)
        self._file.note(key, lambda entry: {} if name in entry else own)
        there = self._file.read().get(key, {})
        found = there if name in there else own
        kept = {each: found[each] for each in own if each in found}
        self._known[shape] |= kept
        log.info("%s: %s", key, remembered.told(kept))
        return bool(self._known[shape][name])


class _Part:
    """A network, in one order or the other."""

    def __init__(self, network: torch.nn.Module, is_same: Same, device: torch.device) -> None:
        self._network = network
        self._is_same = is_same
        self._device = device
        self._is_last = False

    def put(self, is_last: bool) -> None:
        """Into this order, unless it is in it."""
        if is_last is self._is_last:
            return
        order = torch.channels_last if is_last else torch.contiguous_format
        # Outside of inference mode: weights that come of it could not be changed any more.
        with torch.inference_mode(False), torch.no_grad():
            for weight in self._network.parameters():
                if weight.ndim == 4:
                    weight.data = weight.data.contiguous(memory_format=order)
        self._is_last = is_last

    @contextmanager
    def trying(self, keep: Callable[[Trial | None], bool]) -> Iterator[None]:
        """The first call within is made in both orders. `keep` is told of it, and says which order it is to be."""
        network = self._network
        before = vars(network).get("forward")  # hooks of diffusers lie there
        forward = network.forward

        def first(*args: Any, **more: Any) -> Any:
            restore()
            return self._compared(lambda: forward(*args, **more), keep)

        def restore() -> None:
            if vars(network).get("forward") is not first:
                return
            del network.forward
            if before is not None:
                network.forward = before

        self.put(False)
        network.forward = first
        try:
            yield
        finally:
            restore()

    def _compared(self, call: Callable[[], Any], keep: Callable[[Trial | None], bool]) -> Any:
        """What the call gives in the order that is kept."""
        found: dict[bool, Any] = {}
        seconds: dict[bool, float] = {}
        found[False], seconds[False] = self._timed(call, is_last=False)
        try:
            found[True], seconds[True] = self._timed(call, is_last=True)
            is_same = self._is_same(_values(found[False]), _values(found[True]))
            for _ in range(self._more(min(seconds.values())) if is_same else 0):
                for is_last in (False, True):
                    _, again = self._timed(call, is_last=is_last)
                    seconds[is_last] = min(seconds[is_last], again)
        except Exception as error:  # noqa: BLE001 - in the usual order it went well
            log.warning("channels last cannot be tried: %s", error)
            self.put(False)
            free_memory(self._device)
            keep(None)
            return found[False]
        is_last = keep(Trial(seconds[False], seconds[True], is_same))
        self.put(is_last)
        return found[is_last]

    def _timed(self, call: Callable[[], Any], *, is_last: bool) -> tuple[Any, float]:
        self.put(is_last)
        synchronise(self._device)
        began = time.perf_counter()
        result = call()
        synchronise(self._device)
        return result, time.perf_counter() - began

    def _more(self, seconds: float) -> int:
        """How often it is timed again: the first calls may hold what has to be made ready, on a GPU always."""
        if seconds < _SHORT:
            return _MORE
        return 1 if seconds < _LONG or self._device.type == "cuda" else 0


def _has_convolutions(network: torch.nn.Module) -> bool:
    weights = [(weight.numel(), weight.ndim == 4) for weight in network.parameters()]
    return sum(number for number, is_one in weights if is_one) > _SHARE * sum(number for number, _ in weights)


def _values(found: Any) -> torch.Tensor:
    values: torch.Tensor = found if isinstance(found, torch.Tensor) else found[0]
    return values


def _are_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.float(), other.float()
    return bool((one - other).abs().max() <= _CLOSE * one.abs().max())


def _look_the_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """As pictures, -1 to 1: within a level of 255, and few are off. Of many, some would be two off in the next."""
    levels, others = (((each / 2 + 0.5).clamp(0, 1).float() * 255).round() for each in (one, other))
    off = (levels - others).abs()
    return bool(off.max() <= 1 and (off > 0).float().mean() <= _FEW)
