"""Parts that take turns on a device: a text encoder while prompts are read, the denoiser while pictures are drawn.

That takes as much memory as the largest of them. diffusers' own offloading moves the denoiser for every batch; here it
stays until a prompt has to be read that was not read before (`embeddings`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import send_to_device

from hotfolder.engines.device import empty_cache

_REST = torch.device("cpu")
#: Language models of pipelines that would write prompts anew; they are never asked.
_NEVER = ("pe",)


class Turns:
    """The text encoders wait in the machine's memory, all else is on the device; until `reading`."""

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
        self._device = device
        self._encoders = [part for name, part in parts.items() if name.startswith("text_encoder")]
        self._waiting = [part for name, part in parts.items() if name in _NEVER]
        self._stay = [part for name, part in parts.items() if name == "vae"]
        told = (*self._encoders, *self._waiting, *self._stay)
        self._others = [part for part in parts.values() if not any(part is one for one in told)]
        self._depth = 0
        self._holds = False  # what was begun to be read, stays so until the end of `at_once`
        self._is_drawing = self._is_reading = False  # which of both all parts are placed for
        for encoder in self._encoders:
            encoder.register_forward_pre_hook(self._bring, with_kwargs=True)
        self.settle()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While prompts are read; one within another is the same."""
        if not self._is_reading:
            self._is_drawing = False
            for part in self._others:
                part.to(_REST)
            empty_cache(self._device)
            self._is_reading = True
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self.settle()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is read within takes one turn together, and none where nothing is."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            self.settle()

    def settle(self) -> None:
        """As it is to be for drawing, unless prompts are read. May run out of memory; then it can be asked again."""
        if self._is_drawing or self._depth or (self._holds and self._is_reading):
            return
        self._is_reading = False
        for part in (*self._encoders, *self._waiting):
            part.to(_REST)
        empty_cache(self._device)
        for part in (*self._stay, *self._others):
            part.to(self._device)
        self._is_drawing = True

    def _bring(self, encoder: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        """The encoder that is asked comes, the others go. What it is asked with comes along: pipelines put that where
        the encoder was.
        """
        for other in self._encoders:
            if other is not encoder:
                other.to(_REST)
        encoder.to(self._device)
        return send_to_device(args, self._device), send_to_device(kwargs, self._device)
