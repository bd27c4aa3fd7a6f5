"""[executor], [retry] and [models]: where the work is done, how often it is tried, and where models are found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hotfolder.config.sections.base import Seconds, Section


class ExecutorSettings(Section):
    """Where the models run."""

    kind: Literal["local", "ray", "inline"] = Field(
        "local",
        description="local: in child processes, so that a crash there is harmless. ray: on the nodes of a cluster, "
        "see docs/devices.md; commands that answer at once still work here. inline: for tests.",
    )
    address: Annotated[str, Field(pattern=r"^(auto|[^\s:]+:\d+)$")] = Field(
        "auto",
        description="With ray: of the cluster, as 'HOST:6379'. auto: the one that this machine is a node of.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:1: for commands that answer at once, and the daemon with devices = auto.",
    )
    devices: (
        Literal["auto"]
        | Annotated[
            tuple[Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")], ...], Field(min_length=1, max_length=64)
        ]
    ) = Field(
        "auto",
        description='What the daemon works on, each with a worker of its own: ["cuda:0", "cuda:1"], or '
        '["cpu", "cpu"] for two workers that share the cores. auto: every CUDA device, or what device names.',
    )
    set_aside_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0,
        description="Of several devices, one that fails gets no work for so long; each further time twice as long.",
    )
    occupied: Literal["step-down", "wait", "elsewhere"] = Field(
        "step-down",
        description="When another program holds the memory that a model needs. step-down: it is loaded as what is "
        "free allows, see generate.memory. wait: the device is left until the memory is free. elsewhere: the same "
        "while another device can do the work, else step-down.",
    )
    max_temperature: Annotated[int, Field(ge=0, le=150)] = Field(
        0,
        description="A card that is hotter, in °C, ends the image in work and is left alone until it has cooled by "
        "5 degrees. 0: none, as cards slow down by themselves when they get too hot. It is known of NVIDIA's cards "
        "where the package nvidia-ml-py is installed.",
    )
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
        60.0,
        description="How long a turn of a model lasts before one that has to be loaded in its place gets its own. "
        "Work of another kind whose model is loaded already comes between.",
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


class RetrySettings(Section):
    """How patient the line is with failures that are not the file's fault."""

    max_attempts: int = Field(3, ge=1, le=100, description="Attempts at one job.")
    backoff_seconds: Seconds = Field(5.0, description="Before the second attempt; doubled with every further one.")
    max_deaths: int = Field(3, ge=1, le=100, description="Workers that may die on one job before it is failed.")
    pause_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        15.0, description="Disk full or device gone: how long the queue waits before it tries again."
    )


class ModelSettings(Section):
    """Where models are found."""

    folders: tuple[str, ...] = Field(
        (),
        description="Folders with models, searched before the usual one (~/.local/share/hotfolder/models).",
    )
    auto_pull: bool = Field(
        False,
        description="Fetches what is named here and missing when the daemon starts, as `models pull` does. With "
        "executor.kind = 'ray', nodes that lack a model are sent it from the daemon's machine.",
    )
    mirror: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Takes the place of https://github.com in sources of models. The hub's address is $HF_ENDPOINT.",
    )
