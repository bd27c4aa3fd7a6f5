"""The step of the memory ladder to begin on, where a text encoder is the largest part."""

from __future__ import annotations

import pytest

from hotfolder.core.memory_plan import GIB, MemoryPlan, begin_on


@pytest.mark.parametrize(
    ("free", "denoiser", "other", "expected"),
    [
        (13.1, 4, 10, "offload"),
        (12.9, 4, 10, "int8"),  # the denoiser in 8 bits is no help where the encoder is the largest
        (7.6, 4, 10, "int8"),
        (7.4, 4, 10, "nf4"),
        (5.2, 4, 10, "nf4"),
        (5.0, 4, 10, "group"),
        (13.1, 10, 4, "offload"),
        (12.9, 10, 4, "fp8"),
        (7.6, 10, 4, "fp8"),  # a tenth more than 5 GiB, and 2 to work in
        (7.4, 10, 4, "nf4"),
        (8.6, 10, 6, "int8"),  # here the encoder is what does not fit
        (8.7, 10, 6, "fp8"),
    ],
)
def test_the_largest_part_has_to_fit_whichever_it_is(
    free: float, denoiser: int, other: int, expected: str
) -> None:
    """14 to 16 GiB of weights in all: too much for all of them at once."""
    found = begin_on(tuple(MemoryPlan), int(free * GIB), (denoiser + other) * GIB, denoiser * GIB, other * GIB)
    assert found is MemoryPlan(expected)
