"""Views through one encoder, in micro-batches that suit the device."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from hotfolder.core.microbatch import Sizing, halved, timed
from hotfolder.engines.device import empty_cache, is_out_of_memory, synchronise
from hotfolder.engines.scoring.base import Encoder, View

#: Sizes tried first: on a CPU one image keeps all cores busy.
_FIRST_CUDA, _FIRST_CPU = 8, 1


class Runner:
    """Takes any number of views through one encoder, in micro-batches that suit the device."""

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        first = _FIRST_CUDA if device.type == "cuda" else _FIRST_CPU
        self.sizing = Sizing(min(first, encoder.largest_batch), encoder.largest_batch)

    def run(self, views: Sequence[View], *, precisely: bool = False) -> torch.Tensor:
        """(n, d) float32 on the device; `precisely`: in float32 from end to end.

        Out of memory: the micro-batch is halved and done again, none is lost.
        """
        embed = self._encoder.embed_precisely if precisely else self._encoder.embed
        done: list[torch.Tensor] = []
        at = 0
        while at < len(views):
            part = views[at : at + self.sizing.size]
            started = time.perf_counter()
            embedded = None
            try:
                embedded = embed(part)
                if not self.sizing.settled:
                    synchronise(self._device)  # only while the best size is being looked for
            except Exception as error:
                smaller = halved(self.sizing) if is_out_of_memory(error) else None
                if smaller is None:
                    raise
                self.sizing = smaller
            if embedded is None:
                # Out here, where the error and the activations in its frames are gone.
                empty_cache(self._device)
                continue
            if not precisely:  # it takes longer: that says nothing about the best size
                self.sizing = timed(self.sizing, len(part), time.perf_counter() - started)
            done.append(embedded)
            at += len(part)
        return torch.cat(done)
