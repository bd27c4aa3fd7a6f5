"""What scorers are made of: encoders, which look at pictures, and scorers, which read what an encoder saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hotfolder.types import RunnerSettings

View = NDArray[np.uint8]


class Encoder(Protocol):
    """Turns pictures into embeddings. Scorers that read the same encoder share its work."""

    #: Name, preprocessing and weights: embeddings with equal ids are interchangeable.
    id: str
    weights_sha256: str
    preprocessing: str
    precision: str
    #: How far an embedding in half precision may be from float32's along any one direction; 0 where there is none.
    half_error: float
    #: The largest micro-batch worth trying on this device.
    largest_batch: int

    def prepare(self, image: Image.Image) -> View:
        """What the network will see: (h, w, 3) uint8, from a picture in RGB, 8 bits, sRGB, upright, of any size.

        Called from several threads, ahead of the device; it is what bounds the memory of a batch.
        """
        ...

    def embed(self, views: Sequence[View]) -> torch.Tensor:
        """(n, d) float32 embeddings, still on the device: it may be working on them yet."""
        ...

    def embed_precisely(self, views: Sequence[View]) -> torch.Tensor:
        """The same in float32 from end to end."""
        ...


@runtime_checkable
class WordEncoder(Protocol):
    """An encoder that puts words where the pictures lie that show what they say."""

    id: str

    def embed_words(self, words: str) -> torch.Tensor:
        """(d,) float32, on the CPU."""
        ...


class Scorer(Protocol):
    """Judges embeddings of its encoder. A new one is one small file with a class like this and a `load`."""

    name: str
    encoder: Encoder
    weights_sha256: str
    #: The most that the score changes for each unit that an embedding moves: with the encoder's error, a bound.
    slope: float

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(n, d) float32 embeddings on the CPU -> (n,) float32 scores, 1 to 10."""
        ...


@runtime_checkable
class PromptedScorer(Protocol):
    """Judges how a picture goes with its prompt: a scorer for each prompt, and none for a picture without one."""

    name: str
    encoder: Encoder

    def with_prompt(self, prompt: str) -> Scorer:
        """The scorer of pictures of this prompt: its `weights_sha256` is of the prompt as well.

        Called from several threads, ahead of the device.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What a scorer is loaded onto."""

    device: torch.device
    dtype: torch.dtype
    settings: RunnerSettings
    encoders: dict[str, Encoder]  # by the model's name: each is loaded once
