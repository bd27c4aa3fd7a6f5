"""What every scorer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotfolder.types import Score

View = NDArray[np.uint8]


class Scorer(Protocol):
    """Judges pictures. A new one is one small file with a class like this."""

    def prepare(self, image: Image.Image) -> View:
        """What the network will see: (h, w, 3) uint8, from a picture in RGB, 8 bits, sRGB, upright, of any size.

        Called from several threads, ahead of the device; it is what bounds the memory of a batch.
        """
        ...

    def rate(self, views: Sequence[View]) -> list[Score]:
        """One score, 1 to 10, for each view."""
        ...
