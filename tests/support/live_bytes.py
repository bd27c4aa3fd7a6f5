"""How many bytes of tensors are alive at the same time while something runs, on any device.

Every storage that an operation makes is counted until nothing refers to it any more. What kernels allocate for
themselves is not seen.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """`peak`: the most bytes that were alive since it was entered, of what was made since then."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            self._address(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)
        }
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                address = storage._cdata
                if address not in given and address not in self._sizes:
                    self._sizes[address] = storage.nbytes()
                    self._now += storage.nbytes()
                    self._references[address] = weakref.ref(storage, lambda _, at=address: self._gone(at))
        self.peak = max(self.peak, self._now)
        return made

    @staticmethod
    def _address(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _gone(self, address: int) -> None:
        self._now -= self._sizes.pop(address)
        del self._references[address]
