"""The sections of hotfolder.toml: what each key is, what it may be, what it is without being set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hotfolder.core import formula
from hotfolder.core.litter import IGNORED_BY_DEFAULT
from hotfolder.core.samplers import SAMPLERS, sampler_called
from hotfolder.core.sizes import MOST_SCALE
from hotfolder.core.tastes import TASTE
from hotfolder.types import Kind

Rating = Annotated[float, Field(ge=1, le=10)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Side = Annotated[int, Field(ge=8, le=8192, multiple_of=8)]


class Section(BaseModel):
    """A table of hotfolder.toml. Fields with `repr=False` may hold passwords: their values are never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
        if self.upscale != "never" and self.upscale < self.keep:
            raise ValueError(f"upscale ({self.upscale:g}) must not be below keep ({self.keep:g})")
        if self.regenerate_below > self.keep:
            raise ValueError(
                f"regenerate_below ({self.regenerate_below:g}) must not be above keep ({self.keep:g})"
            )
        if self.score and not formula.reachable(formula.parse(self.score), self.keep):
            raise ValueError(f"no image can reach keep ({self.keep:g}) with the score {self.score}")
        return self


class GenerateSettings(Section):
    """What is used where a prompt file does not say. Without a value here, the model's own default."""

    model: str = Field("shapes", min_length=1, description="A name from the registry, or the path of a folder.")
    negative_prompt: str = Field("", description="Used where a prompt has none of its own.")
    steps: int | None = Field(None, ge=1, le=1000, description="Sampling steps.")
    guidance: float | None = Field(None, ge=0, le=100, description="Classifier-free guidance scale.")
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    sampler: str | None = Field(
        None,
        description="As the Stable Diffusion web UI calls it, such as DPM++ 2M Karras. FLUX.1 has its own only.",
    )
    format: Literal["png", "webp", "jpeg"] = Field(
        "png", description="png, webp (lossless) or jpeg. Each says inside how it was made."
    )
    batch_size: int = Field(
        4,
        ge=1,
        le=256,
        description="Prompts of one model and shape that are drawn together, at most; fewer when memory runs out.",
    )
    memory: Literal["auto", "full", "tiled", "offload", "fp8", "int8", "nf4", "group"] = Field(
        "auto",
        description="How a model fits into memory, from fast to frugal: full, tiled (pictures decoded in tiles), "
        "offload (text encoders and denoiser are on the GPU one after the other), fp8 (the denoiser in 8 bits, too), "
        "int8 (text encoders, too), nf4 (both in 4 bits; int8 and nf4 need the extra 'nf4'), group (weights as they "
        "are, one layer at a time on the GPU). auto: by what is free, and one further whenever it runs out.",
    )
    attention: Literal["native", "cudnn", "flash", "flash-3", "sage"] = Field(
        "native",
        description="What reckons attention in diffusion transformers. cudnn, flash (the package flash-attn) and "
        "flash-3 round otherwise than native; sage (the package sageattention) does it in 8 bits. Recorded with the "
        "image. A model that this has no effect on is an error.",
    )
    cache: Literal["off", "first-block"] = Field(
        "off",
        description="first-block: a step whose first block changes little takes the rest from the step before. "
        "Faster with many steps, and another picture; images are then drawn one at a time. FLUX.1 and Qwen-Image.",
    )
    cache_threshold: float = Field(
        0.05, gt=0, le=1, description="How much the first block may change: more is faster, and further off."
    )
    channels_last: Literal["auto", "on", "off"] = Field(
        "auto",
        description="The order in which UNets and VAEs keep their values. auto: both are tried once for each device, "
        "model and shape, and the other one is taken where it is faster and pixels stay within a grey level. on: "
        "always, recorded with the image; an error where nothing has convolutions.",
    )
    unused_options: Literal["error", "ignore"] = Field(
        "error",
        description="A negative prompt, a sampler or a guidance that the model cannot use: error, or ignore, with a "
        "note in the image's row.",
    )
    adapt: bool = Field(
        False,
        description="Pictures of other programs, dropped to be generated again: what they were made with and is not "
        "done here becomes the nearest that is, with notes in the image's row, and not an error.",
    )
    init_folders: tuple[str, ...] = Field(
        (), description="Folders beside the root that prompt files may name init-images of."
    )

    @field_validator("sampler")
    @classmethod
    def _usual_spelling(cls, sampler: str | None) -> str | None:
        if sampler is None:
            return None
        found = sampler_called(sampler)
        if found is None:
            raise ValueError(f"should be one of {', '.join(SAMPLERS)}")
        return found


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


class SettleSettings(Section):
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
    remove_empty_folders: bool = Field(
        False,
        description="Removes a sub-folder of an inbox when the last file of it has left. One that holds anything "
        "else, such as a hotfolder.toml, stays.",
    )


class WatchSettings(Section):
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
        30.0, description="Every so often inboxes and results are read, whatever the events say."
    )
    ignore: tuple[str, ...] = Field(
        IGNORED_BY_DEFAULT,
        description="Names of files and folders that are left alone (shell patterns, case ignored). A list of your "
        "own takes the place of this one.",
    )


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


class OutputSettings(Section):
    """The files that the line writes."""

    umask: str = Field(
        "",
        pattern=r"^(0?[0-7]{3})?$",
        description="Permissions that new files and folders do not get, as for umask(1): 022, 027, 002. Empty: as "
        "the process has it, and only you may read the database. 027 lets your group read that, too.",
    )
    rating: Literal["off", "sidecar", "lightroom", "in-place"] = Field(
        "off",
        description="Scores as stars (xmp:Rating: half the score, -1 for what is rejected): sidecar, a.png.xmp as "
        "digiKam and darktable read it; lightroom, a.xmp; in-place, in the files that hotfolder made, whose pixels "
        "stay (dropped files are never changed: they get a sidecar).",
    )
    min_free_mb: int = Field(
        512,
        ge=0,
        description="With less space than that on the disk, in MiB, nothing is begun: the queue waits until there "
        "is more.",
    )

    @property
    def readers(self) -> int:
        """Bits of a file's mode: who may read what is private, beside its owner."""
        return 0o044 & ~int(self.umask, 8) if self.umask else 0


class MetricsSettings(Section):
    """For monitoring, beside `hotfolder status --check` and `--prometheus`."""

    textfile: str = Field(
        "",
        pattern=r"^(~?/.*\.prom)?$",
        description="A file that the daemon writes every 15 seconds for node_exporter's textfile collector, which "
        "reads *.prom: /var/lib/node_exporter/hotfolder.prom. Empty: none.",
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


#: What may differ from the rest in an inbox of its own, and in a sub-folder: these keys, or with None all.
OVERRIDES: Mapping[str, tuple[str, ...] | None] = {
    "gate": None,
    "generate": (
        "model",
        "negative_prompt",
        "steps",
        "guidance",
        "width",
        "height",
        "sampler",
        "unused_options",
        "adapt",
    ),
    "upscale": ("model", "scale", "format", "min_gain"),
}


class InboxSettings(Section):
    """One more inbox, inbox/<name>/, whose results go to sub-folders of that name."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$",
        description="Its folder below inbox/, and below the results' folders.",
    )
    kind: Literal["generate", "score", "upscale"] = Field(description="What is done with the files in it.")
    priority: int = Field(
        0,
        ge=0,
        le=100,
        description="Above 0: what is dropped here, and all that comes of it, goes before what waits elsewhere with a "
        "lower one. Turns of models last as long as ever, and every fourth batch is of those who wait longest.",
    )
    gate: Mapping[str, Any] = Field({}, description="Keys of [gate] that are different here.")
    generate: Mapping[str, Any] = Field({}, description="Keys of [generate] that are different here.")
    upscale: Mapping[str, Any] = Field(
        {}, description="Keys of [upscale] that are different here: model, scale, format, min_gain."
    )

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in list(Kind):
            raise ValueError(f"inbox/{name} is there anyway; choose another name")
        return name

    @property
    def changes(self) -> dict[str, Mapping[str, Any]]:
        """What is different here, by section."""
        return {"gate": self.gate, "generate": self.generate, "upscale": self.upscale}


class HookSettings(Section):
    """Programs of yours that are told: each a list, the program and its arguments, no shell. JSON comes on stdin."""

    on_keep: tuple[str, ...] = Field((), repr=False, description="An image was kept.")
    on_failed: tuple[str, ...] = Field((), repr=False, description="A file could not be worked.")
    on_idle: tuple[str, ...] = Field((), repr=False, description="Everything that was dropped is done.")
    on_paused: tuple[str, ...] = Field(
        (), repr=False, description="The queue waits: disk full, device gone, or you asked for it."
    )
    on_device: tuple[str, ...] = Field(
        (), repr=False, description="One of several devices failed and is set aside, or works again."
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0, description="Longer than that no such program runs: it is ended then."
    )


class GallerySettings(Section):
    """The page in a browser: hotfolder gallery."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="Where it listens; beyond this machine only with --token-file."
    )
    port: int = Field(8642, ge=0, le=65_535, description="On which port; 0: a free one.")
    names: tuple[str, ...] = Field(
        (),
        description="Names that browsers know it by beside host: this machine's in the network, or a reverse proxy's, "
        "such as pictures.example.net.",
    )
    thumbnails_mb: int = Field(
        2048, ge=64, description="Small pictures are kept up to so many MiB; the oldest go first."
    )
    upload_mb: int = Field(
        512, ge=1, le=65_536, description="A file that is dropped on the page has at most so many MiB."
    )
    metrics: bool = Field(False, description="Whether it answers /metrics (Prometheus) and /healthz.")


class TasteSettings(Section):
    """What is learnt from your verdicts: hotfolder taste."""

    train_after: int = Field(
        10,
        ge=0,
        le=1000,
        description="So many new verdicts and looks of an inbox, and the daemon learns anew; 0: only when asked. The "
        "gate looks at nothing of it before you say so: hotfolder taste use.",
    )
    heads: int = Field(20, ge=2, le=1000, description="Older heads of an inbox that are kept; those in use stay.")


class NotifySettings(Section):
    """Messages to a phone, a chat, a desktop, by apprise: uv pip install 'hotfolder[notify]'."""

    urls: tuple[str, ...] = Field(
        (), repr=False, description="Where to, as apprise writes it: ntfy://topic, mailto://…, dbus://"
    )
    on: tuple[Literal["keep", "failed", "idle", "paused", "device"], ...] = Field(
        ("failed", "paused"), description="What is told: keep, failed, idle, paused, device."
    )
    every_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60.0, description="No more than one message in so many seconds: what happens meanwhile comes together."
    )
