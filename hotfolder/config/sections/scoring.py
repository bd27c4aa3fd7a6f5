"""[score] and [gate]: how images are judged, and what follows from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hotfolder.config.sections.base import Seconds, Section
from hotfolder.core import formula
from hotfolder.core.tastes import TASTE

Rating = Annotated[float, Field(ge=1, le=10)]


class ScoreSettings(Section):
    """How images are judged."""

    scorer: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "technical",
        description="A name from the registry, or the absolute path of a head for CLIP ViT-L/14; or several of "
        "them: each one's score is recorded, the gate looks at the first unless gate.score says otherwise.",
    )
    batch_size: int = Field(
        64,
        ge=1,
        le=4096,
        description="Images that are taken together. How many of them go through the network at once is found by "
        "itself.",
    )
    background: str = Field(
        "white", description="What transparent pixels are laid over before judging: white, black or #rrggbb.",
        pattern=r"^(white|black|#[0-9a-fA-F]{6})$",
    )  # fmt: skip
    crop: Literal["centre", "letterbox"] = Field(
        "centre",
        description="What CLIP sees of a picture that is not square. centre: its middle, as the published scorers "
        "do. letterbox: all of it, smaller; another scale than the published one.",
    )
    positive: tuple[str, ...] = Field(
        ("Good photo.",),
        min_length=1,
        description="For the scorer clip-prompt: what is looked for, each against the one of the same place in "
        "negative.",
    )
    negative: tuple[str, ...] = Field(("Bad photo.",), min_length=1, description="What is not wanted.")

    @model_validator(mode="after")
    def _in_pairs(self) -> ScoreSettings:
        if len(self.positive) != len(self.negative):
            raise ValueError(f"positive has {len(self.positive)} prompts, negative {len(self.negative)}")
        return self

    @field_validator("scorer")
    @classmethod
    def _no_taste(cls, scorer: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if TASTE in ((scorer,) if isinstance(scorer, str) else scorer):
            raise ValueError("taste is learnt beside another scorer: name that here, and taste in gate.score")
        return scorer

    @property
    def scorers(self) -> tuple[str, ...]:
        """`scorer` as a list."""
        return (self.scorer,) if isinstance(self.scorer, str) else self.scorer


class GateSettings(Section):
    """What a score means. Scores run from 1 to 10."""

    score: str = Field(
        "",
        description="What the gate looks at: a scorer, or a formula of several such as "
        "0.8*laion-v2 + 0.2*technical (also -, min, max and brackets; a space before a minus). "
        "Empty: the first of score.scorer.",
    )
    keep: Rating = Field(6.5, description="At or above this an image goes to keep/, below it to reject/.")
    upscale: Rating | Literal["never"] = Field(
        7.0,
        description='At or above this a kept image is enlarged, too. "never": only where a prompt or a person asks.',
    )
    regenerate_below: Rating = Field(
        5.0, description="Below this a generated image is tried again with a new seed."
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Tries for one prompt and seed, the first included.")
    max_seconds: Seconds = Field(
        0.0, description="So long after the first try was judged no other one is begun; 0: as many as may be."
    )
    rest_of_best: Literal["reject", "gate"] = Field(
        "reject",
        description="What is not among the best of --best-of: reject, or gate to keep what is good enough of it.",
    )

    @field_validator("score")
    @classmethod
    def _one_spelling(cls, text: str) -> str:
        return formula.parse(text).text if text.strip() else ""

    @model_validator(mode="after")
    def _ordered(self) -> GateSettings:
        wrong = []
        if self.upscale != "never" and self.upscale < self.keep:
            wrong.append(f"upscale ({self.upscale:g}) must not be below keep ({self.keep:g})")
        if self.regenerate_below > self.keep:
            wrong.append(f"regenerate_below ({self.regenerate_below:g}) must not be above keep ({self.keep:g})")
        if self.score and not formula.reachable(formula.parse(self.score), self.keep):
            wrong.append(f"no image can reach keep ({self.keep:g}) with the score {self.score}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self
