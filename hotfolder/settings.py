"""Every setting: what it is, what it may be, what it is without being set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hotfolder.core import formula
from hotfolder.core.batching import BatchPolicy
from hotfolder.core.gate import Gate
from hotfolder.core.retry import RetryPolicy
from hotfolder.core.settle import SettlePolicy
from hotfolder.errors import UsageError
from hotfolder.types import Kind, StationSettings

Rating = Annotated[float, Field(ge=1, le=10)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Side = Annotated[int, Field(ge=8, le=8192, multiple_of=8)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GateSettings(_Section):
    """What a score means. Scores run from 1 to 10."""

    score: str = Field(
        "",
        description="What the gate looks at: a scorer, or a formula of several such as "
        "0.8*laion-v2 + 0.2*technical (also -, min, max and brackets; a space before a minus). "
        "Empty: the first of score.scorer.",
    )
    keep: Rating = Field(6.5, description="At or above this an image goes to keep/, below it to reject/.")
    upscale: Rating = Field(7.0, description="At or above this a kept image is enlarged, too.")
    regenerate_below: Rating = Field(
        5.0, description="Below this a generated image is tried again with a new seed."
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Tries for one prompt and seed, the first included.")

    @field_validator("score")
    @classmethod
    def _one_spelling(cls, text: str) -> str:
        return formula.parse(text).text if text.strip() else ""

    @model_validator(mode="after")
    def _ordered(self) -> GateSettings:
        if self.upscale < self.keep:
            raise ValueError(f"upscale ({self.upscale:g}) must not be below keep ({self.keep:g})")
        if self.regenerate_below > self.keep:
            raise ValueError(
                f"regenerate_below ({self.regenerate_below:g}) must not be above keep ({self.keep:g})"
            )
        if self.score and not formula.reachable(formula.parse(self.score), self.keep):
            raise ValueError(f"no image can reach keep ({self.keep:g}) with the score {self.score}")
        return self


class GenerateSettings(_Section):
    """What is used where a prompt file does not say. Without a value here, the model's own default."""

    model: str = Field("shapes", min_length=1, description="A name from the registry, or the path of a folder.")
    negative_prompt: str = Field("", description="Used where a prompt has none of its own.")
    steps: int | None = Field(None, ge=1, le=1000, description="Sampling steps.")
    guidance: float | None = Field(None, ge=0, le=100, description="Classifier-free guidance scale.")
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")


class ScoreSettings(_Section):
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

    @property
    def scorers(self) -> tuple[str, ...]:
        """`scorer` as a list."""
        return (self.scorer,) if isinstance(self.scorer, str) else self.scorer


class UpscaleSettings(_Section):
    """How images are enlarged."""

    model: str = Field("x4-compact", min_length=1, description="A name from the registry, or the path of a file.")
    scale: Annotated[float, Field(gt=0, le=64)] | None = Field(
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


class SettleSettings(_Section):
    """When a dropped file is taken."""

    quiet_seconds: Seconds = Field(
        0.5, description="Without a change, where the kernel tells that no program still has the file open."
    )
    quiet_seconds_without_lease: Seconds = Field(
        3.0, description="The same where it cannot tell (network file systems, files of other users)."
    )
    incomplete_grace_seconds: Seconds = Field(
        12.0, description="How long a file that is empty or looks damaged may still turn whole."
    )


class WatchSettings(_Section):
    """How files are noticed. Events only hasten it; the scan is what counts."""

    mode: Literal["auto", "events", "polling"] = Field(
        "auto",
        description="auto: by events, and by polling on network file systems, which tell none, and wherever events "
        "turn out to be missing. events or polling: that, whatever the file system.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        2.0, description="Polling: every so often the inboxes are read. Huge ones less often."
    )

    rescan_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0, description="Every so often the inboxes are read, whatever the events say."
    )
    ignore: tuple[str, ...] = Field(
        (".*", "*~", "*.part", "*.crdownload", "*.download", "*.tmp", "*.swp", "thumbs.db", "desktop.ini"),
        description="Names of files and folders that are left alone (shell patterns, case ignored).",
    )


class ExecutorSettings(_Section):
    """Where the models run."""

    kind: Literal["local", "inline"] = Field(
        "local",
        description="local: in a child process, so that a crash there is harmless. inline: for tests.",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:1.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="auto: half precision where the device has it natively, else float32. float16 is refused on a "
        "CPU.",
    )
    compile: bool = Field(
        False, description="Compiles networks with torch.compile: a minute at each load, then faster on a GPU."
    )
    idle_unload_seconds: Seconds = Field(
        300.0, description="Idle for so long, the worker ends and the device is free."
    )
    stop_grace_seconds: Seconds = Field(
        30.0, description="How long a stop waits for the image in work before it is put back."
    )
    fairness_seconds: Seconds = Field(
        60.0, description="How long a loaded model is preferred before another model's jobs get their turn."
    )
    decode_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that read images ahead of the device; 0: one for each core, at most 16.",
    )
    max_pixels: int = Field(
        200_000_000, ge=1, description="Images with more pixels are refused before they are decoded."
    )
    max_file_bytes: int = Field(
        2_147_483_648, ge=1, description="Image files with more bytes are refused before they are read."
    )
    memory_limit_mb: int = Field(
        0,
        ge=0,
        description="Memory that the worker may take, in MiB: a file that would need more fails alone. 0: nine "
        "tenths of the machine's where it works on the CPU, none with CUDA, whose drivers reserve more than they "
        "use.",
    )
    hang_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        300.0,
        description="A worker that says nothing for so long, and for ten times longer than usual, is taken for "
        "hung and replaced.",
    )
    load_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        1800.0, description="The same while it loads a model."
    )


class RetrySettings(_Section):
    """How patient the line is with failures that are not the file's fault."""

    max_attempts: int = Field(3, ge=1, le=100, description="Attempts at one job.")
    backoff_seconds: Seconds = Field(5.0, description="Before the second attempt; doubled with every further one.")
    max_deaths: int = Field(3, ge=1, le=100, description="Workers that may die on one job before it is failed.")
    pause_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        15.0, description="Disk full or device gone: how long the queue waits before it tries again."
    )


class OutputSettings(_Section):
    """The files that the line writes."""

    umask: str = Field(
        "",
        pattern=r"^(0?[0-7]{3})?$",
        description="Permissions that new files and folders do not get, as for umask(1): 022, 027, 002. Empty: as "
        "the process has it.",
    )
    min_free_mb: int = Field(
        512,
        ge=0,
        description="With less space than that on the disk, in MiB, nothing is begun: the queue waits until there "
        "is more.",
    )


class ModelSettings(_Section):
    """Where models are found."""

    folders: tuple[str, ...] = Field(
        (),
        description="Folders with models, searched before the usual one (~/.local/share/hotfolder/models).",
    )


class Settings(_Section):
    """Everything in hotfolder.toml."""

    gate: GateSettings = GateSettings()
    generate: GenerateSettings = GenerateSettings()
    score: ScoreSettings = ScoreSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    settle: SettleSettings = SettleSettings()
    watch: WatchSettings = WatchSettings()
    executor: ExecutorSettings = ExecutorSettings()
    retry: RetrySettings = RetrySettings()
    output: OutputSettings = OutputSettings()
    models: ModelSettings = ModelSettings()

    def gate_policy(self) -> Gate:
        return Gate(
            self.gate.keep, self.gate.upscale, self.gate.regenerate_below, self.gate.max_attempts
        )  # fmt: skip

    def settle_policy(self) -> SettlePolicy:
        s = self.settle
        return SettlePolicy(s.quiet_seconds, s.quiet_seconds_without_lease, s.incomplete_grace_seconds)

    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.retry.max_attempts,
            backoff_seconds=self.retry.backoff_seconds,
            max_deaths=self.retry.max_deaths,
            pause_seconds=self.retry.pause_seconds,
            incomplete_grace_seconds=self.settle.incomplete_grace_seconds,
        )

    def batch_policy(self) -> BatchPolicy:
        sizes = {Kind.GENERATE: 4, Kind.SCORE: self.score.batch_size, Kind.UPSCALE: 4}
        return BatchPolicy(sizes, self.executor.fairness_seconds)

    def station(self, database: Path | None = None) -> StationSettings:
        """What a worker has to know; with `database`, what was judged before is looked up there."""
        known = {**self.upscale.model_dump(), **self.score.model_dump(), **self.executor.model_dump()}
        wanted = {field.name for field in fields(StationSettings)}
        return StationSettings(
            **{key: value for key, value in known.items() if key in wanted},
            model_folders=self.models.folders,
            scorers=self.score.scorers,
            database=str(database) if database else None,
        )

    def judged_by(self, scorer: str) -> Settings:
        """The same settings with this scorer, or formula, instead of the configured ones.

        Raises UsageError for a formula that is not understood.
        """
        try:
            is_path = os.path.isabs(scorer) and os.path.isfile(scorer)  # noqa: PTH113, PTH117 - never raise
            wanted = formula.of(scorer) if is_path else formula.parse(scorer)
        except formula.FormulaError as error:
            raise UsageError(
                f"the scorer '{scorer}' was not understood: {error}",
                "name one, or write 0.8*laion-v2 + 0.2*technical",
            ) from None
        return self.model_copy(
            update={
                "gate": self.gate.model_copy(update={"score": wanted.text}),
                "score": self.score.model_copy(update={"scorer": wanted.names}),
            }
        )

    def with_upscale(self, changes: Mapping[str, Any]) -> Settings:
        """The same settings with other values in [upscale]. Raises UsageError for one that is not allowed."""
        try:
            upscale = UpscaleSettings.model_validate({**self.upscale.model_dump(), **changes})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = str(problem["loc"][0]) if problem["loc"] else "upscale"
            raise UsageError(
                f"--{key} {problem['input']}: {problem['msg'].removeprefix('Value error, ')}",
                describe("upscale", key),
            ) from None
        return self.model_copy(update={"upscale": upscale})

    def models_needed(self) -> list[tuple[Kind, str]]:
        """Every model that work may ask for, unless a prompt file names another."""
        scorers = dict.fromkeys((*formula.parse(self.default_model(Kind.SCORE)).names, *self.score.scorers))
        return [
            (Kind.GENERATE, self.generate.model),
            *((Kind.SCORE, name) for name in scorers),
            (Kind.UPSCALE, self.upscale.model),
        ]

    def default_model(self, kind: Kind) -> str:
        """The model that does this kind of work where nothing else is asked for; for scoring, the formula."""
        return {
            Kind.GENERATE: self.generate.model,
            Kind.SCORE: self.gate.score or formula.of(self.score.scorers[0]).text,
            Kind.UPSCALE: self.upscale.model,
        }[kind]


def keys(section: str) -> list[str]:
    """The keys of a section."""
    field = Settings.model_fields.get(section)
    section_class: Any = field.annotation if field else None
    return list(section_class.model_fields) if section_class else []


def describe(section: str, key: str) -> str:
    """What a key means; empty for one that is not known."""
    field = Settings.model_fields.get(section)
    section_class: Any = field.annotation if field else None
    described = section_class.model_fields.get(key) if section_class else None
    return (described.description or "") if described else ""
