"""The frozen records that flow through the line. Plain data: picklable, JSON-able, no live objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a job does; also the name of the inbox where such jobs come from."""

    GENERATE = "generate"
    SCORE = "score"
    UPSCALE = "upscale"


#: Jobs of one kind for one model.
Group = tuple[Kind, str]


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Role(StrEnum):
    """How an image came into being."""

    GENERATED = "generated"
    DROPPED = "dropped"
    UPSCALED = "upscaled"


class ImageRole(StrEnum):
    """Which image of a transition is meant."""

    IMAGE = "image"
    ORIGINAL = "original"  # what the image was enlarged from


class Verdict(StrEnum):
    """What the gate said, or a person."""

    KEEP = "keep"
    REJECT = "reject"


class Judge(StrEnum):
    """Who gave a verdict."""

    GATE = "gate"
    PERSON = "person"
    TASTE = "taste"  # the gate, by what was learnt of a person


class How(StrEnum):
    """How a person gave a verdict."""

    KEY = "key"
    STARS = "stars"  # so many that they say it: by a key, or in another program
    COMMAND = "command"
    MOVED = "moved"  # the file was moved to another folder, in whatever program


class Purpose(StrEnum):
    """What a score is for."""

    JUDGE = "judge"  # the gate decides by it
    MEASURE = "measure"  # it is recorded; nothing is decided


class FailureClass(StrEnum):
    """Who is to blame, and so what follows."""

    BAD_INPUT = "bad_input"  # the file: to failed/ at once
    TRANSIENT = "transient"  # chance: tried again after a pause, a few times
    ENVIRONMENT = "environment"  # disk, device, share: the queue pauses, no attempt is spent
    POISON = "poison"  # the worker died on it: quarantined when it happens again and again


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as data: `kind` is stable, `message` is a sentence, `fix` says how to mend it."""

    kind: str
    failure: FailureClass
    message: str
    fix: str = ""

    def told(self) -> dict[str, str]:
        """As it stands in every JSON document of ours."""
        return {"kind": self.kind, "message": self.message, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a prompt file something is; as a text, what a message about it begins with: 'p.txt:3:14:'."""

    name: str  # the file's, or what else the prompt is called
    line: int | None = None  # from 1
    column: int | None = None  # from 1
    prompt: int | None = None  # from 1, where prompts are told by their number

    def __str__(self) -> str:
        where = ":".join(str(each) for each in (self.name, self.line, self.column) if each is not None)
        return f"{where}:" if self.prompt is None else f"{where}: prompt {self.prompt}:"

    @property
    def in_file(self) -> str:
        """'line 3', or 'prompt 2'; empty for a file as a whole."""
        if self.prompt is not None:
            return f"prompt {self.prompt}"
        return "" if self.line is None else f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at one file in an inbox."""

    path: str  # relative to the root, '/' between the parts
    size: int  # bytes
    mtime_ns: int
    inode: int
    device: int = field(compare=False)  # may be numbered anew by a reboot

    @property
    def identity(self) -> FileIdentity:
        """Which file it is, whatever it is called."""
        return FileIdentity(self.inode, self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file it is, whatever it is called. A renamed file keeps all three."""

    inode: int
    size: int | None  # bytes; None: not known
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    """A file that a person dropped, from the moment it is taken until it is placed."""

    id: int
    kind: Kind
    sighting: Sighting
    seen_at: float  # seconds since the epoch: when it was first seen as it is


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """One image to be generated, or the best of several; decided but for what the model's defaults fill in."""

    prompt: str
    negative_prompt: str
    seed: int
    line: int | None = None  # of the prompt file, or its number there, from 1; None when it has a single prompt
    model: str | None = None
    width: int | None = None  # pixels
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    template: str | None = None  # the prompt as written, where wildcards in it were resolved
    sampler: str | None = None  # a name of core.samplers
    lora: tuple[tuple[str, float], ...] = ()  # name or path, and weight
    init_image: str | None = None  # a file to begin from
    strength: float | None = None  # 0 to 1: how much of it is drawn anew
    best_of: int | None = None  # so many seeds from `seed` on are drawn, the best of them kept
    keep: int | None = None  # how many of those
    until_kept: int | None = None  # new seeds are drawn until so many were kept
    at_most: int | None = None  # and no more than so many
    upscale: bool | float | None = None  # what is kept is enlarged, in any case (to that scale) or in none
    priority: int | None = None  # above 0: before others
    exact: bool = False  # what it leaves open is the model's, not the configuration's
    is_plain_cfg: bool = False  # its guidance is off at 1, whatever the model's is; True until the model is known
    model_sha256: str | None = None  # what the model has to be
    init_image_sha256: str | None = None  # what the pixels of the init-image have to be
    notes: tuple[str, ...] = ()  # what was asked for otherwise, and is told with the image


@dataclass(frozen=True, slots=True)
class GenerateParams:
    """What one image is generated with; `request.seed` is its own."""

    request: PromptSpec
    #: Images of one dropped file with the same number: the best of them are kept, or so many.
    set_number: int | None = None
    #: When the first try of this prompt was judged, in seconds since the epoch; None for the first try.
    first_judged_at: float | None = None


@dataclass(frozen=True, slots=True)
class ScoreParams:
    """What a score is for, and how the image was generated, if it was."""

    purpose: Purpose = Purpose.JUDGE
    generated: GenerateParams | None = None


@dataclass(frozen=True, slots=True)
class UpscaleParams:
    """How an image is enlarged; None leaves it to the model, or to the settings."""

    scale: float | None = None  # in each direction
    format: str | None = None


JobParams = GenerateParams | ScoreParams | UpscaleParams


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the queue."""

    id: int
    kind: Kind
    drop_id: int
    source_file: str  # the dropped file it comes from, relative to the root
    source: str | None  # the file it works on, relative to the root; None for generate
    model: str
    attempt: int  # counted when claimed, given back when the job was not to blame
    claim: int  # never given back: an outcome of an older claim is dropped
    created_at: float  # seconds since the epoch
    params: JobParams | None = None  # None: it failed before it was known what it asks for
    image_id: int | None = None  # the image it works on, when that has a row already
    try_number: int = 1  # of one prompt and seed: below gate.regenerate_below it is tried again
    deaths: int = 0  # how many workers, or whole daemons, died on it
    crashes: int = 0  # how many daemons died while it was claimed, perhaps not by its fault

    @property
    def set_number(self) -> int | None:
        """Of the set of which the best are kept, if it belongs to one."""
        found = self.generated
        return found.set_number if found is not None and found.request.until_kept is None else None

    @property
    def generated(self) -> GenerateParams | None:
        """What its image is, or was, generated with, while it is drawn or judged."""
        params = self.params.generated if isinstance(self.params, ScoreParams) else self.params
        return params if isinstance(params, GenerateParams) else None

    @property
    def is_of_run(self) -> bool:
        """Whether seeds of its prompt are drawn until so many were kept."""
        found = self.generated
        return found is not None and found.set_number is not None and found.request.until_kept is not None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be queued."""

    kind: Kind
    model: str
    params: JobParams | None
    source: str | None = None  # the dropped file it works on, if it does; relative to the root
    about: ImageRole | None = None  # or which image of the transition that queues it
    try_number: int = 1
    error: ErrorInfo | None = None  # it failed before it could be queued
    priority: int = 0  # above 0: it goes before others, the highest first


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed, as it is told."""

    id: int
    kind: Kind
    attempts: int
    error_kind: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A row of the images."""

    id: int
    path: str  # relative to the root
    sha256: str
    role: Role
    verdict: Verdict | None
    width: int  # pixels
    height: int
    parent_id: int | None
    prompt: str | None
    negative_prompt: str | None
    seed: int | None
    model: str | None
    source_file: str | None
    drop_id: int | None
    score: float | None  # the one that the gate looks at
    scorer: str | None
    judge: Judge | None = None  # whose the verdict is
    identity: FileIdentity | None = None  # of its file; None: not known yet
    is_gone: bool = False  # its file lies nowhere in the folders of results; `path` is where it was last


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What a worker has to know of the configuration."""

    device: str = "auto"
    precision: str = "auto"  # or 'float32', 'float16', 'bfloat16'
    compile: bool = False
    model_folders: tuple[str, ...] = ()
    model_entries: tuple[Mapping[str, Any], ...] = ()  # models of the configuration: fields of ModelEntry
    decode_threads: int = 2
    max_pixels: int = 200_000_000
    max_file_bytes: int = 2**31
    max_temperature: int = 0  # °C of a card above which nothing is begun; 0: none
    memory_limit_mb: int = 0  # 0: by the machine; see executors.limits
    database: str | None = None  # of the root: what was judged before need not be judged again
    scorers: tuple[str, ...] = ()  # that judge beside those which the gate looks at
    auto_pull: bool = False  # nodes of a cluster are sent the models that they lack
    tastes: str | None = None  # the folder with what was learnt of a person
    background: str = "white"
    crop: str = "centre"  # or 'letterbox'
    positive: tuple[str, ...] = ()  # what clip-prompt looks for, each against one of `negative`
    negative: tuple[str, ...] = ()
    memory: str = "auto"  # how a generator fits: or a step of core.ladder
    draw_together: int = 4  # pictures of one shape, at most
    attention: str = "native"  # or another of engines.generation.speed
    cache: str = "off"  # or 'first-block'
    cache_threshold: float = 0.05
    channels_last: str = "off"  # or 'on', or 'auto': what was measured
    image_format: str = "png"  # of generated ones
    format: str = "png"
    scale: float | None = None  # in each direction; None: the model's own
    denoise: float | None = None  # 0 to 1, for models with a twin
    tile: int = 0  # input pixels; 0: by the memory there is
    overlap: int = 0  # input pixels; 0: by the network's receptive field
    animated: str = "refuse"  # or 'first-frame'
    max_output_megapixels: float = 0.0  # of an enlarged picture whose size nobody asked for; 0: any
    max_output_pixels: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Precise:
    """Which scores have to be float32's, because something is decided by them that has to be the same everywhere.

    Others may be the device's precision's.
    """

    near: tuple[float, ...] = ()  # one that may be on the other side of one of these
    at_least: float = math.inf  # one that may be this or more; -inf: every one

    def wants(self, lowest: float, highest: float) -> bool:
        """Whether a score that is known to lie in this range has to be taken in float32."""
        return math.inf > self.at_least <= highest or any(lowest < one <= highest for one in self.near)


@dataclass(frozen=True, slots=True)
class Item:
    """One job as a worker sees it: absolute paths and parameters."""

    job_id: int
    claim: int
    source: str | None
    staging: str  # folder of this claim alone
    params: Mapping[str, Any] = field(default_factory=dict)
    precise: Precise = Precise()  # of a score
    root: str | None = None  # files below it are reached without following a link; None: a person named the file
    file: Sighting | None = None  # which file `source` is to be, with its device; None: whichever lies there


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs of one kind and one model that a worker takes together."""

    id: int
    kind: Kind
    model: str
    items: tuple[Item, ...]
    waits_if_occupied: bool = False  # its model is not loaded while another program holds the memory that it needs


@dataclass(frozen=True, slots=True)
class Score:
    """A score that can be trusted: it says how it was come by."""

    value: float  # 1 to 10
    scorer: str
    weights_sha256: str
    preprocessing: str
    precision: str

    @property
    def version(self) -> tuple[str, str, str]:
        """What has to be the same for two scores to be of the same scorer."""
        return self.scorer, self.weights_sha256, self.preprocessing


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an encoder made of a picture: enough for another head, without the picture and without a GPU."""

    encoder: str  # its name, preprocessing and weights
    vector: str  # base64 of float16, little-endian


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known already about a content."""

    width: int  # pixels, upright
    height: int
    scores: tuple[Score, ...]
    embeddings: tuple[Embedding, ...]
    prompt: str | None = None  # of the image that it is


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that a worker wrote."""

    path: str  # absolute, inside the item's staging folder
    sha256: str
    width: int  # pixels
    height: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what of the picture could not be kept


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a worker found about the file it read."""

    sha256: str
    width: int  # pixels, upright
    height: int
    notes: tuple[str, ...] = ()  # what a person should know of it: sentences without their beginning 'a.png: '


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: a score, or a staged file, or an error."""

    job_id: int
    claim: int
    score: Score | None = None  # the one that the gate looks at
    parts: tuple[Score, ...] = ()  # other scorers', if there are several
    embeddings: tuple[Embedding, ...] = ()  # new ones
    staged: Staged | None = None
    source: SourceFacts | None = None
    error: ErrorInfo | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know though all went well."""
        return (self.source.notes if self.source else ()) + (self.staged.notes if self.staged else ())


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker is: for people to look at, nothing depends on it."""

    job_id: int
    stage: str  # 'loading shapes', 'generating', …
    step: int = 0
    steps: int = 0
    loading: bool = False  # a model is being loaded: no file is in work yet
    device: str = ""  # 'cuda:0', 'cpu'
    memory_used: int = 0  # bytes of the device's memory; of this process where it works on the CPU
    memory_total: int = 0
    temperature: int = 0  # of the device, in °C; 0: not known
