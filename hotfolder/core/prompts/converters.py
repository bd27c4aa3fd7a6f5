"""Reading the values of flags and keys: each function raises ValueError, saying what is wanted."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from typing import Any

from hotfolder.core.samplers import SAMPLERS, sampler_called

#: The largest seed: what a database can hold. Other programs draw seeds of up to 64 bits.
MAX_SEED = 2**63 - 1
#: The longest prompt, resolved or not: no model reads a hundredth of it.
MOST_CHARACTERS = 20_000
#: How many images one file may ask for, so that a slip (`--count 1000000`) does not fill the disk.
MAX_PRIORITY = 100
MAX_IMAGES = 10_000
#: Width and height must be divisible by this: the latent grid of every supported family.
SIZE_STEP = 8


def whole(low: int, high: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"a whole number from {low} to {high}") from None
        fraction = isinstance(value, float) and value != number
        if isinstance(value, bool) or fraction or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return convert


def number(low: float, high: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"a number from {low:g} to {high:g}") from None
        if isinstance(value, bool) or not low <= number <= high:  # NaN fails the comparison
            raise ValueError(f"a number from {low:g} to {high:g}")
        return number

    return convert


def side(value: Any) -> int:
    number = whole(SIZE_STEP, 8192)(value)
    if number % SIZE_STEP:
        raise ValueError(f"a multiple of {SIZE_STEP}, such as {round(number / SIZE_STEP) * SIZE_STEP or 8}")
    return number


def words(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value.strip()


def seed(value: Any) -> int | None:
    # -1 is how the Stable Diffusion web UI asks for a random seed.
    return None if str(value) == "-1" else whole(0, MAX_SEED)(value)


def seeds(value: Any) -> tuple[int, ...]:
    """'1,2,5-9', or a list of whole numbers: each once, in this order."""
    wanted = f"seeds such as 1,2,5-9, each once, from 0 to {MAX_SEED}"
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str | int) else [None]
    found: list[int] = []
    for part in parts:
        span = re.fullmatch(r"\s*(\d{1,19})\s*-\s*(\d{1,19})\s*", part) if isinstance(part, str) else None
        try:
            low, high = (int(span[1]), int(span[2])) if span else (whole(0, MAX_SEED)(part),) * 2
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= high <= MAX_SEED or high - low >= MAX_IMAGES:
            raise ValueError(wanted)
        if len(found) + high - low >= MAX_IMAGES:
            raise ValueError(wanted)
        found += range(low, high + 1)
    if not found or len(found) > MAX_IMAGES or len(set(found)) < len(found):
        raise ValueError(wanted)
    return tuple(found)


def one_of(*words: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return convert


def sampler(value: Any) -> str:
    found = sampler_called(value) if isinstance(value, str) else None
    if found is None:
        near = difflib.get_close_matches(str(value), SAMPLERS, n=1)
        raise ValueError(f"one of {', '.join(SAMPLERS)}" + (f"; did you mean '{near[0]}'?" if near else ""))
    return found


#: How strong a LoRA may be, either way: beyond that nothing but noise is left.
MOST_WEIGHT = 10.0


def lora(text: str) -> tuple[str, float]:
    """'name', 'name:0.8' or a path with a weight; a weight is 1 unless it is given. Raises ValueError."""
    name, colon, weight = text.strip().rpartition(":")
    if not colon:
        name, weight = weight, "1"
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not name.strip() or not -MOST_WEIGHT <= number <= MOST_WEIGHT:
        raise ValueError(
            f"NAME:WEIGHT, such as pixel-art:0.8, the weight from -{MOST_WEIGHT:g} to {MOST_WEIGHT:g}"
        )
    return name.strip(), number


def loras(value: Any) -> tuple[tuple[str, float], ...]:
    """'a:0.8', a list of such, or a table of names and weights; each name once."""
    if isinstance(value, dict):
        parts = [f"{name}:{'x' if isinstance(weight, bool) else weight}" for name, weight in value.items()]
    else:
        parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("NAME:WEIGHT, a list of such, or a table of names and weights")
    found = tuple(lora(part) for part in parts)
    if len({name for name, _ in found}) < len(found):
        raise ValueError("each LoRA once")
    return found


def upscale(value: Any) -> bool | float:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("yes", "no"):
        return value.lower() == "yes"
    try:
        return number(1, 16)(value)
    except ValueError:
        raise ValueError("yes, no, or how many times larger, from 1 to 16") from None
