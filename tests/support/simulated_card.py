"""A card that is not there: tensors that say they lie on 'cuda:0', computed on the CPU, in a memory of a given size.

What it shows without a card: that all that meets in an operation lies on one device, that what is read as numbers was
fetched from the card before, what stays on it, where the host waits for it, and what happens when its memory runs
out. What it cannot show: how fast a card is, and how its own kernels round.

As torch's FakeTensor does it, each tensor is a wrapper that torch itself takes for one without data ('meta'), so that
no part of it looks for a driver; `OnCard.device` says 'cuda:0'. The numbers lie in a tensor of the CPU behind it.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

CARD = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_ROOT = str(Path(__file__).resolve().parents[2] / "hotfolder")
aten = torch.ops.aten
#: Operations between devices.
_BETWEEN = (aten.copy_.default, aten._to_copy.default)
#: What may be indexed on a card by numbers that lie on the CPU.
_INDEXED = (
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default,
    aten._unsafe_index.Tensor, aten._unsafe_index_put.default,
)  # fmt: skip
#: After these the host knows something that the card had to compute first.
#: Its parts would ask torch where they are.
_ATTENTION = aten.scaled_dot_product_attention.default
_WAITS = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default)


class _Lease:
    """Of a storage on the card, by one tensor."""

    def __init__(self, card: SimulatedCard, storage: torch.UntypedStorage) -> None:
        self._card, self._key = card, storage._cdata
        card.taken(self._key, storage.nbytes())

    def __del__(self) -> None:
        self._card.given_back(self._key)


class OnCard(torch.Tensor):
    """A tensor on the simulated card; `held` has its numbers."""

    held: torch.Tensor
    lease: _Lease
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor, card: SimulatedCard) -> OnCard:
        with torch.inference_mode(held.is_inference()):  # a view of what is none is none
            made: OnCard = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
                layout=held.layout, device="meta", requires_grad=held.requires_grad,
            )  # fmt: skip
        made.held = held
        made.lease = _Lease(card, held.untyped_storage())
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _card.compute(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CARD

    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_numbers(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_numbers(index), value)

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __deepcopy__(self, memo: Any) -> OnCard:
        made = OnCard(self.held.clone(), _card)
        made.requires_grad_(self.requires_grad)
        for name in vars(self).keys() - {"held", "lease"}:
            setattr(made, name, copy.deepcopy(getattr(self, name), memo))
        memo[id(self)] = made
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.held!r})"


def _numbers(index: Any) -> Any:
    """Lists of indices as tensors: torch would make them where it believes the tensor to be."""
    if isinstance(index, tuple):
        return tuple(map(_numbers, index))
    return torch.tensor(index) if isinstance(index, list) else index


class _Mode(TorchDispatchMode):
    """Every operation, so that what is made on the card can be caught; of one thread."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _card.compute(func, args, kwargs or {})


class SimulatedCard:
    """`others`: bytes that other programs hold. `waits`: where in hotfolder the host waited for the card."""

    def __init__(self, memory: int) -> None:
        self.memory, self.others = memory, 0
        self.allocated = self.reserved = self.peak = 0
        self.waits: list[str] = []
        self._late: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._storages: dict[int, tuple[int, int]] = {}  # bytes, and how many tensors lie there
        self._lock = threading.RLock()  # garbage may be given back while something is taken

    def taken(self, key: int, size: int) -> None:
        """Raises torch.OutOfMemoryError."""
        with self._lock:
            known, tensors = self._storages.get(key, (0, 0))
            more = max(0, size - known)
            if more and self.allocated + more > self.memory - self.others:
                self._storages[key] = (known, tensors + 1)
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {more} bytes (simulated).")
            self._storages[key] = (max(size, known), tensors + 1)
            self.allocated += more
            self.reserved = max(self.reserved, self.allocated)
            self.peak = max(self.peak, self.allocated)

    def given_back(self, key: int) -> None:
        with self._lock:
            size, tensors = self._storages.pop(key)
            if tensors > 1:
                self._storages[key] = (size, tensors - 1)
            else:
                self.allocated -= size

    def late(self, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """A copy that nobody waits for: until somebody does, what it is copied to holds anything."""
        self._late.append((target, source.clone()))
        target.fill_(torch.nan if target.is_floating_point() else 77)
        return target

    def end(self, *_: object) -> None:
        """All that it was given is done."""
        self.waited()
        while self._late:
            target, source = self._late.pop(0)
            target.copy_(source)

    def empty_cache(self) -> None:
        self.reserved = self.allocated

    def reset_peak(self, *_: object) -> None:
        self.peak = self.allocated

    def free(self, *_: object) -> tuple[int, int]:
        return max(0, self.memory - self.others - self.reserved), self.memory

    def waited(self) -> None:
        ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(_ROOT)]
        if ours:
            self.waits.append(f"{Path(ours[-1].filename).name}:{ours[-1].name}")

    @contextlib.contextmanager
    def _within(self, *operands: object) -> Iterator[None]:
        """While torch takes an operation apart: what it makes meanwhile lies where the operation's tensors do."""
        before = getattr(_local, "within", False)
        _local.within = before or any(isinstance(each, OnCard) for each in tree_flatten(operands)[0])
        try:
            yield
        finally:
            _local.within = before

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """One operation. Raises RuntimeError where its tensors lie on different devices."""
        if func is not _ATTENTION and func._can_decompose():  # in inference mode they come whole
            with _Mode(), self._within(args, kwargs):
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        tensors = [each for each in tree_flatten((args, dict(kwargs)))[0] if isinstance(each, torch.Tensor)]
        on = [each for each in tensors if isinstance(each, OnCard)]
        wanted = kwargs.get("device")
        if wanted is not None:
            wanted = torch.device(wanted)
            if wanted.type == "meta" and (on or getattr(_local, "within", False)):  # as torch itself sees ours
                wanted = CARD
        if on and func not in _BETWEEN:
            _check_one_device(func, args, tensors)
        if on and (func in _WAITS or (func in _BETWEEN and wanted is not None and wanted.type == "cpu")):
            self.end()
        if func is aten._fused_sdp_choice.default:
            return 0  # the kernel that is written in other operations
        given = dict(kwargs)
        is_on = bool(on)
        if wanted is not None:
            is_on = wanted.type == "cuda"
            given["device"] = _CPU if is_on else wanted
        if func is aten.copy_.default:
            is_on = isinstance(args[0], OnCard)
            if not is_on and on:
                if args[2] if len(args) > 2 else kwargs.get("non_blocking"):
                    return self.late(args[0], args[1].held)
                self.end()
        if given.get("pin_memory"):
            given["pin_memory"] = False
        found = func(
            *tree_map_only(OnCard, lambda each: each.held, args),
            **tree_map_only(OnCard, lambda each: each.held, given),
        )
        if not is_on:
            return found
        if func in _BETWEEN[1:] and len(tensors) == 1 and found is tensors[0]:
            found = found.clone()
        wrapped = tree_map_only(
            torch.Tensor, lambda each: each if isinstance(each, OnCard) else OnCard(each, self), found
        )
        return return_and_correct_aliasing(func, args, dict(kwargs), wrapped) if on else wrapped


def _check_one_device(func: Any, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> None:
    off = [each for each in tensors if not isinstance(each, OnCard) and each.ndim and each.device.type == "cpu"]
    if off and not (func in _INDEXED and isinstance(args[0], OnCard)):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({func})"
        )


_local = threading.local()
#: The one that is there.
_card = SimulatedCard(0)


class _Stream(SimpleNamespace):
    """Everything is done at once: there is nothing to wait for."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(device=CARD, stream_id=0, device_index=0, device_type=1)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def record(self, *_: object) -> None:
        pass

    wait_stream = wait_event = wait = record

    def synchronize(self) -> None:
        _card.end()

    def query(self) -> bool:
        return True


def _with_index(value: Any) -> Any:
    """'cuda' is the card that there is; torch would ask the driver which."""
    if isinstance(value, str) and value.startswith("cuda"):
        value = torch.device(value)
    return CARD if isinstance(value, torch.device) and value.type == "cuda" else value


def _become(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """The tensor is what the other was, and still itself, wherever it is held: a parameter comes to the card so."""
    more = {name: each for name, each in vars(tensor).items() if name not in ("held", "lease")}
    wants_gradient, is_parameter = tensor.requires_grad, isinstance(tensor, torch.nn.Parameter)
    tensor.__class__, other.__class__ = other.__class__, tensor.__class__
    tensor.__dict__, other.__dict__ = vars(other) | more, {}
    torch._C._swap_tensor_impl(tensor, other)  # type: ignore[attr-defined]
    if is_parameter and type(tensor) is OnCard:
        tensor._is_param = True  # type: ignore[attr-defined]
    tensor.requires_grad_(wants_gradient)


def _data() -> property:
    """`Tensor.data`, to which a tensor of another device may be given."""
    plain = torch.Tensor.data

    def put(self: torch.Tensor, value: torch.Tensor) -> None:
        if not isinstance(self, OnCard) and not isinstance(value, OnCard):
            plain.__set__(self, value)  # type: ignore[attr-defined]
        else:
            _become(self, value.detach())

    return property(lambda self: self.detach() if isinstance(self, OnCard) else plain.__get__(self), put)


def _to(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`Tensor.to`, which gives the tensor itself where it is what is wanted."""

    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = tuple(map(_with_index, args)), {name: _with_index(each) for name, each in kwargs.items()}
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        if isinstance(self, OnCard) and not kwargs.get("copy"):
            rest = {name: each for name, each in kwargs.items() if name != "copy"}
            device, dtype, _, order = torch._C._nn._parse_to(*args, **rest)
            if (
                (device is None or device.type == "cuda")
                and dtype in (None, self.dtype)
                and (order in (None, torch.preserve_format) or self.is_contiguous(memory_format=order))
            ):
                return self
        return plain(self, *args, **kwargs)

    return to


@contextlib.contextmanager
def simulated_card(monkeypatch: pytest.MonkeyPatch, memory: int = 8 * 2**30) -> Iterator[SimulatedCard]:
    """Within it there is a card with so many bytes, for this process and all its threads."""
    global _card
    _card = card = SimulatedCard(memory)
    properties = SimpleNamespace(
        name="simulated card", major=9, minor=0, total_memory=memory, multi_processor_count=132, warp_size=32
    )

    def nothing(*_: object, **__: object) -> None:
        return None

    def on_cuda(name: str, value: Any) -> None:
        monkeypatch.setattr(torch.cuda, name, value, raising=False)

    on_cuda("synchronize", card.end)
    for name in ("_lazy_init", "set_device", "ipc_collect", "manual_seed", "manual_seed_all"):
        on_cuda(name, nothing)
    for name, value in {
        "is_available": True, "is_initialized": True, "is_bf16_supported": True, "device_count": 1,
        "current_device": 0, "get_device_name": properties.name, "get_device_capability": (9, 0),
        "get_device_properties": properties,
    }.items():  # fmt: skip
        on_cuda(name, lambda *_, _value=value, **__: _value)
    on_cuda("mem_get_info", card.free)
    on_cuda("memory_allocated", lambda *_: card.allocated)
    on_cuda("memory_reserved", lambda *_: card.reserved)
    on_cuda("max_memory_allocated", lambda *_: card.peak)
    on_cuda("reset_peak_memory_stats", card.reset_peak)
    on_cuda("empty_cache", card.empty_cache)
    on_cuda("get_rng_state", lambda *_: torch.get_rng_state())
    on_cuda("set_rng_state", nothing)
    for name in ("Stream", "Event", "stream", "current_stream", "default_stream", "device"):
        on_cuda(name, _Stream)
    plain = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", _to(plain))
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *_, **__: self.to(CARD), raising=False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *_: self, raising=False)
    monkeypatch.setattr(torch.Tensor, "record_stream", nothing, raising=False)
    run = threading.Thread.run

    def with_mode(self: threading.Thread) -> None:
        with _Mode():
            run(self)

    monkeypatch.setattr(threading.Thread, "run", with_mode)
    monkeypatch.setattr(torch.Tensor, "data", _data(), raising=False)
    compatible = torch._has_compatible_shallow_copy_type
    monkeypatch.setattr(
        torch, "_has_compatible_shallow_copy_type",
        lambda one, other: isinstance(one, OnCard) or isinstance(other, OnCard) or compatible(one, other),
    )  # fmt: skip
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor: made on the CPU, and moved where a mode sees it
    try:
        with _Mode():
            yield card
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
