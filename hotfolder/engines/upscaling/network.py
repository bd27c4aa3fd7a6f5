"""A super-resolution network as spandrel reads it; its facts come from the descriptor."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import spandrel
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch.utils.checkpoint import checkpoint

from hotfolder.engines.device import pick_dtype, precision_name
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

#: A network has so many of a block at least, where it repeats it.
_REPEATED = 3


class Network:
    """A loaded network, 3 channels in and out. `scale` is its factor in each direction."""

    def __init__(self, spec: ModelSpec, device: torch.device, settings: RunnerSettings) -> None:
        """Raises ModelDamaged for weights that do not load or do not enlarge, UsageError for a wrong `denoise`."""
        self.name = spec.name
        self.device = device
        self.weights_sha256 = spec.verify()
        descriptor = read_descriptor(spec.files[0].path)
        if settings.denoise is not None:
            self._mix(descriptor, spec, settings.denoise)
        self.scale: int = descriptor.scale
        self.multiple: int = max(1, descriptor.size_requirements.multiple_of)
        self.minimum: int = descriptor.size_requirements.minimum
        self.square: bool = descriptor.size_requirements.square
        self.tiles_well: bool = descriptor.tiling is spandrel.ModelTiling.SUPPORTED
        self.dtype = _pick(descriptor, pick_dtype(device, settings.precision))
        self.precision = precision_name(self.dtype)
        self._grey = descriptor.input_channels == 1
        self._full: torch.nn.Module = descriptor.model.eval().requires_grad_(False).float().to(device)
        is_full = self.dtype is torch.float32
        self._own = self._full if is_full else copy.deepcopy(self._full).to(self.dtype)
        self._format = self._full_format = torch.contiguous_format
        self._compile = settings.compile
        self._fast: Any = self._own

    def _mix(self, descriptor: spandrel.ImageModelDescriptor, spec: ModelSpec, strength: float) -> None:
        """Network interpolation (Wang et al., 'Deep network interpolation', CVPR 2019), as Real-ESRGAN's -dn does.

        1 is the model itself, which removes noise; 0 its twin, which keeps it.
        """
        if spec.twin is None:
            raise UsageError(
                f"model '{spec.name}' has no twin to set the denoising with",
                "use realesr-general-x4v3, or leave denoise out",
            )
        twin = read_descriptor(spec.twin.files[0].path).model.state_dict()
        own = descriptor.model.state_dict()
        if own.keys() != twin.keys() or any(own[key].shape != twin[key].shape for key in own):
            raise ModelDamaged(f"'{spec.twin.name}' is no twin of '{spec.name}'", "fetch both again")
        mixed = {key: strength * own[key].float() + (1 - strength) * twin[key].float() for key in own}
        descriptor.model.load_state_dict(mixed)
        text = f"{self.weights_sha256}{spec.twin.verify()}{strength:.6g}"
        self.weights_sha256 = hashlib.sha256(text.encode()).hexdigest()

    def leave_half_precision(self) -> None:
        """Works in float32 from now on; before `settle`."""
        self.dtype, self._own = torch.float32, self._full
        self._fast, self.precision = self._own, precision_name(self.dtype)

    def settle(self, *, channels_last: bool) -> None:
        """Takes the memory layout that it will work in; the probes come before."""
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        # In float32 on a CPU only this layout adds up in one order whatever the size of the tile.
        self._full_format = torch.channels_last if self.device.type == "cpu" else self._format
        self._full.to(memory_format=self._full_format)
        own = self._own.to(memory_format=self._format)
        self._fast = torch.compile(own) if self._compile else own

    @torch.inference_mode()
    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) float32 in [0, 1] on the device -> (n, 3, h·scale, w·scale) in the network's precision."""
        return self._through(self._fast, pixels.to(self.dtype).contiguous(memory_format=self._format))

    @torch.inference_mode()
    def run_in_float32(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same in full precision: for what overflowed, and for pictures that are deeper than half precision."""
        if self.dtype is torch.float32:
            return self.run(pixels)
        return self._through(self._full, pixels.float().contiguous(memory_format=self._full_format))

    def differentiable(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same in float32 with gradients, for the probe of the receptive field."""
        return self._through(self._full, pixels)

    @contextmanager
    def remembering_little(self) -> Iterator[None]:
        """Within it, gradients of `differentiable` are the same and take less memory: of each of the large blocks that
        the network repeats only the input is kept, and the rest computed once more on the way back (Chen et al.,
        'Training deep nets with sublinear memory cost', 2016).
        """
        blocks = _repeated_blocks(self._full)
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        try:
            yield
        finally:
            for block in blocks:
                del block.forward  # the class's own is there again

    def forward_in(self, pixels: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
        """One pass in a memory layout, for the probe of the layout."""
        self._own.to(memory_format=memory_format)
        return self._through(self._own, pixels.to(self.dtype).contiguous(memory_format=memory_format))

    @contextmanager
    def watched(self, note: Callable[[object, object, object], None]) -> Iterator[None]:
        """`note(module, inputs, output)` is called after each layer."""
        handles = [layer.register_forward_hook(note) for layer in self._own.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _through(self, net: Any, pixels: torch.Tensor) -> torch.Tensor:
        if self._grey:
            return torch.cat([net(pixels[:, c : c + 1]) for c in range(3)], dim=1)
        return net(pixels)[:, :3]

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns to be added below and to the right, so that the network takes the picture."""
        wanted = [max(side, self.minimum) for side in (height, width)]
        if self.square:
            wanted = [max(wanted)] * 2
        rows, columns = (-(-side // self.multiple) * self.multiple for side in wanted)
        return rows - height, columns - width


def pad(pixels: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(n, c, h, w) with a mirrored border below and to the right, as often as it takes."""
    while rows or columns:
        down, right = min(rows, pixels.shape[2] - 1), min(columns, pixels.shape[3] - 1)
        if (rows and not down) or (columns and not right):
            return F.pad(pixels, (0, columns, 0, rows), mode="replicate")
        pixels = F.pad(pixels, (0, right, 0, down), mode="reflect")
        rows, columns = rows - down, columns - right
    return pixels


def _pick(descriptor: spandrel.ImageModelDescriptor, dtype: torch.dtype) -> torch.dtype:
    """The wanted precision where the architecture stands it, else the next best."""
    if dtype is torch.float16 and not descriptor.supports_half:
        dtype = torch.bfloat16
    if dtype is torch.bfloat16 and not descriptor.supports_bfloat16:
        dtype = torch.float32
    return dtype


def _repeated_blocks(net: torch.nn.Module) -> list[torch.nn.Module]:
    """The outermost modules of one class that the network has at least three of, each made of layers."""
    made = [(name, module) for name, module in net.named_modules() if any(True for _ in module.children())]
    counts = Counter(type(module) for _, module in made)
    often = {name: module for name, module in made if name and counts[type(module)] >= _REPEATED}
    plain = (torch.nn.Sequential, torch.nn.ModuleList)
    often = {name: module for name, module in often.items() if not isinstance(module, plain)}
    return [
        module
        for name, module in often.items()
        if not any(name.startswith(f"{other}.") for other in often if other != name)
    ]


def read_descriptor(path: Path) -> spandrel.ImageModelDescriptor:
    """Raises ModelDamaged for a file that is not a network which enlarges pictures of 1 or 3 channels."""
    try:
        loader = spandrel.ModelLoader(device="cpu")
        if path.suffix.lower() == ".pt":
            # spandrel would try these as TorchScript first, which is a program: only the tensors are wanted.
            state = torch.load(path, map_location="cpu", weights_only=True)
            descriptor = loader.load_from_state_dict(spandrel.canonicalize_state_dict(state))
        else:
            # Safetensors, or a pickle through a restricted unpickler: no code of the file is run.
            descriptor = loader.load_from_file(path)
    except spandrel.UnsupportedModelError:
        raise ModelDamaged(f"{path} is of no architecture that spandrel knows", "use another model") from None
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any way it likes
        raise ModelDamaged(f"{path} cannot be read: {error}", "fetch it again") from None
    if (
        not isinstance(descriptor, spandrel.ImageModelDescriptor)
        or descriptor.purpose not in ("SR", "FaceSR")
        or descriptor.input_channels not in (1, 3)
    ):
        raise ModelDamaged(f"{path} is not a network that enlarges images", "use a super-resolution model")
    return descriptor
