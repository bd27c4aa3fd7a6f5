"""What `hotfolder bench all` found, as one document; its JSON Schema is docs/reference/bench-all.schema.json."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: How far results may be from float32's on a CPU.
MOST_SCORE, LEAST_PSNR, MOST_LEVELS = 0.02, 50.0, 1.0


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limit(_Table):
    """What bounds a rate, measured on the same machine in the same run."""

    by: str = Field(description="`matrix products`, `device memory`, `decoding`, `renames` or `the worker`")
    value: float = Field(gt=0, description="the rate that it allows, in the measurement's unit")
    share: float = Field(ge=0, description="the measured rate, as a part of it")


class Correctness(_Table):
    """How far results are from those of float32 on the CPU."""

    measure: Literal["score", "psnr_db", "levels"] = Field(
        description="largest difference of a score, lowest PSNR, or largest difference of a pixel in levels of 255"
    )
    value: float
    bound: float = Field(description="the value is to be at most this; of `psnr_db` at least")
    ok: bool
    of: str = Field(description="what was compared")


#: What a measurement has, or a reason why not.
EXPLAINED = ("limit", "plain", "device_memory_mb", "process_memory_mb", "correctness")


class Measurement(_Table):
    """One rate. Where it has no limit, plain way, memory or correctness, `reasons` say why."""

    name: str
    unit: str = Field(
        description="what one second brings: `images`, `megapixels`, `steps`, `files`, `TFLOP`, `GB`"
    )
    value: float = Field(ge=0, description="so many a second")
    precision: str | None = Field(None, description="`float32`, `float16`, `bfloat16`")
    plain: float | None = Field(None, description="the plain way of doing the same, in the same run")
    times_plain: float | None = Field(None, description="value / plain")
    limit: Limit | None = None
    goal: float | None = Field(None, description="the share of the limit that a card is to reach")
    device_memory_mb: float | None = Field(None, description="the most memory on the card; null on a CPU")
    process_memory_mb: float | None = Field(None, description="the most memory of the process")
    correctness: tuple[Correctness, ...] = ()
    scaled_down: bool = Field(
        False, description="a smaller network than the name says, because of --quick, or of a CPU"
    )
    reasons: dict[str, str] = Field(
        default_factory=dict, description=f"why one of {', '.join(EXPLAINED)} is not there, by its name"
    )
    details: dict[str, str | float | int | bool | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_reasons(self) -> Self:
        missing = [name for name in EXPLAINED if getattr(self, name) in (None, ()) and name not in self.reasons]
        if missing:
            raise ValueError(f"{self.name}: no {missing[0]}, and no reason why")
        return self


class Problem(_Table):
    """Why there is less than was asked for."""

    kind: str
    message: str
    fix: str


class Status(StrEnum):
    """What became of a part."""

    DONE = "done"
    FAILED = "failed"  # what it measured before is there
    TIMED_OUT = "timed_out"  # likewise
    MISSING = "missing"  # not begun


class Part(_Table):
    """One process, and what it measured."""

    name: str
    status: Status
    seconds: float = Field(0.0, ge=0)
    cpu_seconds: float = Field(
        0.0, ge=0, description="of all cores; far less than `seconds` on a CPU: the machine had other work"
    )
    error: Problem | None = None
    skipped: str | None = Field(None, description="why there was nothing to be measured here")
    measurements: tuple[Measurement, ...] = ()


class Machine(_Table):
    """Where it was measured."""

    device: str = Field(description="the card's name, or the processor's")
    device_type: Literal["cuda", "cpu"]
    compute_capability: str | None = None
    device_memory_mb: float
    driver: str | None = Field(None, description="of the card")
    cuda: str | None = Field(None, description="the version that torch was built for")
    cores: int
    memory_mb: float
    system: str
    python: str


class BenchAll(_Table):
    """The whole document. It is valid at any moment, and says what is missing."""

    schema_version: Literal[1] = 1
    kind: Literal["bench-all"] = "bench-all"
    quick: bool = Field(description="small sizes, scaled-down networks: to see that it runs, not how fast")
    started_at: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(ge=0)
    finished: bool = Field(description="whether it came to its end; false of a run that was killed or interrupted")
    missing: tuple[str, ...] = Field(description="parts that were asked for and are not done whole")
    machine: Machine | None = Field(description="null where the part `machine` did not tell")
    versions: dict[str, str] = Field(description="of hotfolder and the libraries that do the work")
    parts: tuple[Part, ...]


def schema() -> str:
    """docs/reference/bench-all.schema.json."""
    return json.dumps(BenchAll.model_json_schema(mode="serialization"), indent=2) + "\n"


def reasons(device_memory_mb: float | None, **others: str) -> dict[str, str]:
    """Why something is not there; of the card's memory, where there is none, that there is no card."""
    of_card = {"device_memory_mb": "a CPU has no memory of its own"} if device_memory_mb is None else {}
    return {**of_card, **others}


def correct(measure: Literal["score", "psnr_db", "levels"], value: float, of: str) -> Correctness:
    """With the bound that holds for this measure."""
    bound = {"score": MOST_SCORE, "psnr_db": LEAST_PSNR, "levels": MOST_LEVELS}[measure]
    ok = value >= bound if measure == "psnr_db" else value <= bound
    return Correctness(measure=measure, value=round(value, 5), bound=bound, ok=ok, of=of)


def limited(by: str, limit: float, rate: float) -> Limit:
    """What bounds `rate`; both in one unit."""
    return Limit(by=by, value=rounded(limit), share=round(rate / limit, 4))


def rounded(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")
