"""LoRA on a loaded pipeline: put on with a weight each, and taken off without a trace."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from safetensors import SafetensorError
from safetensors.torch import load_file

from hotfolder.engines.device import is_out_of_memory
from hotfolder.engines.generation.files import stamp
from hotfolder.errors import BadInput


class LoraAdapters:
    """What a pipeline wears just now. Pipelines that share its parts wear the same. `dtype` is what it works in."""

    def __init__(self, pipeline: Any, dtype: torch.dtype) -> None:
        self._pipeline = pipeline
        self._dtype = dtype
        self._on: dict[Path, str] = {}  # file -> name of the adapter
        self._weights: dict[Path, float] = {}
        self._seen: dict[Path, tuple[int, ...]] = {}  # each file as it was when it was put on

    @property
    def on_encoders(self) -> Hashable:
        """What the text encoders wear: files as they were, with their weights. Most LoRA change the denoiser alone."""
        if not self._on:
            return ()
        worn = self._pipeline.get_list_adapters()
        names = {name for part, names in worn.items() if part.startswith("text_encoder") for name in names}
        return tuple(
            (path, self._weights.get(path), self._seen.get(path))
            for path, name in self._on.items()
            if name in names
        )

    def activate(self, wanted: Mapping[Path, float]) -> None:
        """Just these, with these weights. Raises BadInput for one that does not fit, or is gone."""
        seen = {path: stamp(path, "LoRA") for path in wanted}
        if wanted == self._weights and seen == self._seen:
            return
        if set(wanted) != set(self._on) or seen != self._seen:
            self._take_off()
            for number, path in enumerate(wanted):
                self._put_on(path, f"lora_{number}")
        if wanted:
            self._pipeline.set_adapters([self._on[path] for path in wanted], list(wanted.values()))
        self._weights, self._seen = dict(wanted), seen

    def _take_off(self) -> None:
        if self._on:
            self._pipeline.unload_lora_weights()
        self._on, self._weights, self._seen = {}, {}, {}

    def _put_on(self, path: Path, name: str) -> None:
        self._on[path] = name
        try:
            with _quiet():
                self._load(path, name)
                if self._widen():
                    self._load(path, name, hotswap=True)  # once more: the first time it was rounded to 8 bits
            fits = name in {known for names in self._pipeline.get_list_adapters().values() for known in names}
        except (
            OSError,
            ValueError,
            LookupError,
            RuntimeError,
            TypeError,
            AttributeError,
            SafetensorError,
        ) as error:
            self._take_off()
            if is_out_of_memory(error):
                raise
            raise BadInput(f"the LoRA {path.name} does not fit this model: {_short(error)}", _FIX) from error
        if not fits:
            self._take_off()
            raise BadInput(f"the LoRA {path.name} does not fit this model: it changes nothing of it", _FIX)

    def _load(self, path: Path, name: str, **how: bool) -> None:
        if path.suffix == ".safetensors":
            self._pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name, use_safetensors=True,
                local_files_only=True, **how,
            )  # fmt: skip
        else:  # the same format by its shorter name, which diffusers takes for a pickle
            self._pipeline.load_lora_weights(load_file(path), adapter_name=name, **how)

    def _widen(self) -> bool:
        """peft keeps a LoRA as the network keeps its weights, but nothing can be reckoned in 8 bits.

        Whether there was anything to widen.
        """
        found = False
        for part in self._pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                for name, weights in part.named_parameters():
                    if "lora_" in name and weights.dtype is torch.float8_e4m3fn:
                        weights.data = weights.data.to(self._dtype)
                        found = True
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """diffusers also logs, in hundreds of lines, what it raises."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


_FIX = "use one that was made for this family of models"


def _short(error: Exception) -> str:
    if "size mismatch" in str(error):
        return "its layers are of other sizes"
    text = " ".join(str(error).split())
    return text if len(text) < 200 else text[:199] + "…"
