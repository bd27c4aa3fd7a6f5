"""[upscale]: how images are enlarged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from hotfolder.config.sections.base import Section
from hotfolder.core.sizes import MOST_SCALE


class UpscaleSettings(Section):
    """How images are enlarged."""

    model: str = Field("x4-compact", min_length=1, description="A name from the registry, or the path of a file.")
    scale: Annotated[float, Field(gt=0, le=MOST_SCALE)] | None = Field(
        None,
        description="How many times larger in each direction. Without a value the model's own factor; else as "
        "many passes as it takes, and a reduction.",
    )
    denoise: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="How much noise is removed, 0 to 1, by models that come as a pair (realesr-general-x4v3).",
    )
    format: Literal["png", "webp", "jpeg", "tiff", "avif"] = Field(
        "png", description="png, webp (lossless), jpeg, tiff or avif. 16 bits stay 16 in png and tiff."
    )
    min_gain: Annotated[float, Field(ge=-9, le=9)] | None = Field(
        None,
        description="An enlarged image whose score is not better by this than its original's is marked as "
        "regressed: -0.5 forgives half a point. Without a value, gains are only recorded.",
    )
    animated: Literal["refuse", "first-frame"] = Field(
        "refuse", description="What to do with animations: refuse, or first-frame to enlarge that alone."
    )
    tile: int = Field(
        0, ge=0, le=8192, description="Side of the tiles, in input pixels; 0: as large as the memory allows."
    )
    overlap: int = Field(
        0,
        ge=0,
        le=512,
        description="What the network sees around a tile, in input pixels; 0: as far as it can reach, which is "
        "found by trying.",
    )
    max_output_megapixels: Annotated[float, Field(ge=0, le=4_000)] = Field(
        100.0,
        description="What would have more megapixels than that is not enlarged: a kept image stays as it is, and says "
        "so. 100: up to 2500 × 2500 pixels, four times larger. 0: no such limit.",
    )
    max_output_pixels: int = Field(
        1_000_000_000,
        ge=1,
        description="Nothing is enlarged to more pixels than that: each takes 3 bytes or more.",
    )

    @field_validator("tile")
    @classmethod
    def _not_tiny(cls, tile: int) -> int:
        if 0 < tile < 16:
            raise ValueError("should be 0 or at least 16")
        return tile
