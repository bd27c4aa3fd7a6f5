"""Textual inversions (arxiv.org/abs/2208.01618) of a loaded pipeline: words that a file gives a meaning.

Each of a file's vectors becomes a token of its own, which no other text can hold, so that prompts without the tag come
out as before. They stay until the pipeline goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hotfolder.core.families import family_called
from hotfolder.core.prompts.tags import with_embeddings
from hotfolder.engines.generation.files import stamp
from hotfolder.errors import BadInput
from hotfolder.models.registry import ModelSpec

#: Names of the vectors for each of SDXL's two encoders, in order; files for Stable Diffusion 1.5 have one tensor.
_PAIR = ("clip_l", "clip_g")
#: More than any file in use has (16, 32); each takes a token of the 75 that CLIP reads at once.
_MOST_VECTORS = 75


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, ...]
    words: str


class TextualInversions:
    """Those that a pipeline knows. `find` says where the file of a name lies; it may raise BadInput."""

    def __init__(self, pipeline: Any, spec: ModelSpec) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._known: dict[str, _Known] = {}
        self._count = 0

    def applied(self, prompt: str, find: Callable[[str], Path]) -> str:
        """The prompt with tokens in the place of tags. Raises BadInput for a file that is gone, or does not fit."""
        return with_embeddings(prompt, lambda name: self._words(name, find(name)))

    def _words(self, name: str, path: Path) -> str:
        seen = stamp(path, "textual inversion")
        known = self._known.get(name)
        if known is None or known.stamp != seen:
            known = self._known[name] = _Known(seen, self._load(path))
        return known.words

    def _load(self, path: Path) -> str:
        if not family_called(self._spec.family).reads_weights:
            raise BadInput(
                f"{self._spec.name} cannot use the textual inversion {path.stem}",
                "use a model of Stable Diffusion 1.5 or SDXL, or leave it out",
            )
        by_encoder = self._vectors(path)
        counts = {len(vectors) for _, _, vectors in by_encoder}
        if len(counts) > 1:
            raise _does_not_fit(path, "it has another number of vectors for each text encoder")
        self._count += 1
        tokens = [f"hftextualinversion{self._count:04}v{index:03}" for index in range(counts.pop())]
        for tokenizer, encoder, vectors in by_encoder:
            self._pipeline.load_textual_inversion(
                list(vectors), token=list(tokens), tokenizer=tokenizer, text_encoder=encoder
            )
            _find_the_end(encoder, tokenizer)
        return " ".join(tokens)

    def _vectors(self, path: Path) -> list[tuple[Any, Any, torch.Tensor]]:
        """Tokenizer, text encoder and (n, width) for each."""
        try:
            tensors = load_file(path)
        except (OSError, ValueError, SafetensorError) as error:
            raise BadInput(f"the textual inversion {path} cannot be read: {error}", "fetch it again") from None
        encoders = [
            (self._pipeline.tokenizer, self._pipeline.text_encoder),
            *(
                [(self._pipeline.tokenizer_2, self._pipeline.text_encoder_2)]
                if self._spec.family == "sdxl"
                else []
            ),
        ]
        found = _by_encoder(path, tensors, len(encoders))
        for (_, encoder), vectors in zip(encoders, found, strict=True):
            width = encoder.config.hidden_size
            if vectors.ndim != 2 or vectors.shape[1] != width or not 0 < len(vectors) <= _MOST_VECTORS:
                shape = "x".join(map(str, vectors.shape))
                raise _does_not_fit(
                    path, f"its vectors are {shape}, and {self._spec.name} reads {width} numbers each"
                )
            if not bool(vectors.isfinite().all()):
                raise _does_not_fit(path, "it holds values that are no numbers")
        return [(*pair, vectors) for pair, vectors in zip(encoders, found, strict=True)]


def _by_encoder(path: Path, tensors: Mapping[str, torch.Tensor], count: int) -> list[torch.Tensor]:
    found = [tensors[key] for key in _PAIR if key in tensors] if count > 1 else list(tensors.values())
    if len(found) != count or (count == 1 and set(tensors) & set(_PAIR)):
        made_for = "SDXL" if set(tensors) & set(_PAIR) else "one text encoder (Stable Diffusion 1.5)"
        raise _does_not_fit(path, f"it was made for {made_for}")
    return [vectors[None] if vectors.ndim == 1 else vectors for vectors in found]


def _find_the_end(encoder: Any, tokenizer: Any) -> None:
    """SDXL's summary is read at the end of the text.

    Where an old configuration says 2 (as that of stabilityai/stable-diffusion-xl-base-1.0 does), transformers takes
    the token with the highest number for the end, and a new one has a higher (its pull request 24773).
    """
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) is not None:
            module.eos_token_id = tokenizer.eos_token_id


def _does_not_fit(path: Path, why: str) -> BadInput:
    return BadInput(
        f"the textual inversion {path.name} does not fit this model: {why}",
        "use one that was made for this family of models",
    )
