"""What the `shapes` model can be asked for: its words, and which combinations it never saw."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: sRGB, 8 bits a channel. Spaced so that the nearest palette colour is unambiguous.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 35),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 40),
    "green": (40, 160, 60),
    "cyan": (50, 205, 220),
    "blue": (35, 70, 205),
    "purple": (125, 45, 165),
    "pink": (250, 140, 190),
    "brown": (115, 70, 35),
    "white": (245, 245, 245),
    "black": (20, 20, 24),
    "gray": (130, 130, 135),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "diamond", "cross", "hexagon", "heart")
#: How often `shapes` is shown some of them, against those whose outline is learnt from few pictures.
SHOWN = {"star": 2.0, "cross": 2.0, "heart": 2.0, "hexagon": 1.5, "diamond": 1.5}
#: Radius as a fraction of the image's side, from and to; None is the unnamed size. Latents are eight pixels apart: the
#: arms of a smaller star than these would be narrower than that.
SIZES: dict[str | None, tuple[float, float]] = {
    "small": (0.20, 0.22),
    "large": (0.36, 0.40),
    None: (0.27, 0.30),
}
#: One combination in HELD_OUT_ONE_IN is never shown in training.
HELD_OUT_ONE_IN = 8


@dataclass(frozen=True, slots=True)
class Spec:
    """One picture, in words the model understands."""

    colour: str
    shape: str
    background: str
    size: str | None = None

    @property
    def held_out(self) -> bool:
        """Whether this colour × shape × background is kept out of training (stable across runs)."""
        key = f"{self.colour} {self.shape} {self.background}".encode()
        return hashlib.sha256(key).digest()[0] % HELD_OUT_ONE_IN == 0

    def caption(self, form: int = 0) -> str:
        """The sentence for this picture; `form` 0 to 3 picks one of the phrasings used in training."""
        thing = f"{self.size} {self.colour}" if self.size else self.colour
        article = "an" if thing[0] in "aeiou" else "a"
        back = "an" if self.background[0] in "aeiou" else "a"
        return (
            f"{article} {thing} {self.shape} on {back} {self.background} background",
            f"{thing} {self.shape}, {self.background} background",
            f"{thing} {self.shape} on {self.background}",
            f"{article} {thing} {self.shape}",
        )[form]


def all_specs() -> Iterator[Spec]:
    """Every combination in which the shape can be told from its background."""
    for colour, shape, background in itertools.product(COLOURS, SHAPES, COLOURS):
        if colour != background:
            for size in SIZES:
                yield Spec(colour, shape, background, size)


def training_pairs(
    count: int, rng: random.Random, shown: Mapping[str, float] = MappingProxyType({})
) -> list[tuple[Spec, str]]:
    """`count` pictures with their captions, none of a held-out combination; a shape that is `shown` so many times as
    often as the others."""
    pool = [spec for spec in all_specs() if not spec.held_out]
    weights = [shown.get(spec.shape, 1.0) for spec in pool]
    forms = (0, 0, 0, 1, 2, 3)
    return [(spec, spec.caption(rng.choice(forms))) for spec in rng.choices(pool, weights, k=count)]


def held_out_specs(count: int, rng: random.Random) -> list[Spec]:
    """`count` different held-out pictures."""
    return rng.sample([spec for spec in all_specs() if spec.held_out], count)
