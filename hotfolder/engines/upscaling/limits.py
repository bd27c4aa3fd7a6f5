"""What is not enlarged unless somebody asks for that very size."""

from __future__ import annotations

import math

from hotfolder.core.sizes import Target, plan
from hotfolder.errors import EnlargedTooLarge


def check_megapixels(width: int, height: int, model_scale: int, target: Target, most: float) -> None:
    """Raises EnlargedTooLarge where nobody named the size, and it is more than `most` megapixels (0: any)."""
    wanted = plan(width, height, model_scale, target)
    if target.names_size or not 0 < most < wanted.megapixels:
        return
    size = f"{wanted.width:,} × {wanted.height:,} pixels ({wanted.megapixels:,.0f} megapixels)"
    raise EnlargedTooLarge(
        f"enlarged it would have {size}, more than the {most:g} of upscale.max_output_megapixels",
        f"hotfolder upscale FILE --megapixels {most:g} enlarges it to that; or raise upscale.max_output_megapixels, "
        f"for one command by HOTFOLDER_UPSCALE__MAX_OUTPUT_MEGAPIXELS={math.ceil(wanted.megapixels)}",
    )
