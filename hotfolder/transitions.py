"""What changes when something has happened: one type for each thing that can happen.

A transition is journalled before any of it is done: first its files are moved, then the rest becomes one transaction.
Doing it twice is harmless. Its class says what happened, its fields of type Move which file goes where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from hotfolder.types import Embedding, ErrorInfo, FileIdentity, How, NewJob, Role, Score, Verdict

T = TypeVar("T", bound="Change")


@dataclass(frozen=True, slots=True)
class Move:
    """A file that goes to another place. Paths are relative to the root."""

    src: str
    dst: str
    #: Which file is meant; None for one of our own making, which is looked at when the move is planned.
    file: FileIdentity | None = None


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that goes along with one that is moved, under the same stem: see core.companions."""

    of: str  # the role of the move that it goes along with
    move: Move  # its destination follows from that one's when it is planned


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What is written as <name>.error.json."""

    beside: str  # the path in failed/ whose name it takes
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StaleReport:
    """A <name>.error.json that is not true any more, if it speaks of these jobs."""

    beside: str
    job_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that gets a row; its path is where its move leads."""

    role: Role
    sha256: str
    width: int  # pixels
    height: int
    parent_id: int | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What all transitions have: the dropped file that it all began with."""

    #: The fields that hold a Move, the one that matters most first: without its file nothing happens at all.
    MOVES: ClassVar[tuple[str, ...]] = ()

    drop_id: int  # 0: not known any more
    source_file: str  # relative to the root
    companions: tuple[Companion, ...] = ()

    def moves(self) -> Iterator[tuple[str, Move]]:
        """(role, move) of each file that is moved."""
        for name in self.MOVES:
            move = getattr(self, name)
            if move is not None:
                yield name, move

    def with_moves(self: T, moves: Mapping[str, Move]) -> T:
        """The same with other moves, by their roles."""
        changes: dict[str, Any] = dict(moves)
        return replace(self, **changes) if changes else self

    @property
    def error_report(self) -> ErrorReport | None:
        """What is written of the failure, by a type that has such a report."""
        report: ErrorReport | None = getattr(self, "report", None)
        return report

    def with_report(self: T, report: ErrorReport) -> T:
        """The same with another report, of a type that has one."""
        changes: dict[str, Any] = {"report": report}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfJob(Change):
    """What the end of a job leads to."""

    job_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated(OfJob):
    """An image was drawn: it waits for its score."""

    MOVES = ("image",)
    new_image: NewImage
    image: Move
    next_jobs: tuple[NewJob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(OfJob):
    """An image was scored. It has a row already (`image_id`), or was dropped and gets one (`new_image`)."""

    MOVES = ("image",)
    sha256: str
    score: Score
    parts: tuple[Score, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    image_id: int | None = None
    new_image: NewImage | None = None
    verdict: Verdict | None = None
    gate_keep: float | None = None  # the threshold by which it was given
    settings: Mapping[str, Any] = field(default_factory=dict)  # added to what the row says of its making
    image: Move | None = None
    is_drop: bool = False  # the image that is moved is the dropped file
    next_jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaled(OfJob):
    """An image was enlarged. One that was dropped for that goes to the archive and gets a row, too."""

    MOVES = ("image", "original")
    new_image: NewImage
    image: Move
    new_original: NewImage | None = None
    original: Move | None = None
    next_jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(OfJob):
    """The very picture lies there already: ours is dropped, what a person dropped is archived."""

    MOVES = ("original",)
    note: ErrorInfo
    original: Move | None = None
    image_id: int | None = None  # the row of the other one, where its verdict counts for ours


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnlarged(OfJob):
    """An image stays as it is: enlarged it would be larger than is wanted. Its row says so."""

    image_id: int
    note: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(OfJob):
    """A job failed for good; or failed again, because its retry was taken back."""

    MOVES = ("image",)
    error: ErrorInfo
    attempts: int | None = None  # of a retry that is taken back: how many there had been before it
    report: ErrorReport | None = None
    image: Move | None = None
    image_id: int | None = None  # the row of the image that is moved, if it has one
    is_drop: bool = False  # the image that is moved is the dropped file


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen(Change):
    """One of a set of which the best are kept, when all of the set are judged."""

    MOVES = ("image",)
    image_id: int
    verdict: Verdict
    gate_keep: float | None = None
    image: Move
    next_jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Change):
    """A drawn image that was cancelled before it had its score: it leaves the private folder without one."""

    MOVES = ("image",)
    image_id: int
    image: Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouted(Change):
    """A judged image goes to the other folder."""

    MOVES = ("image",)
    image_id: int
    verdict: Verdict
    gate_keep: float | None = None
    image: Move
    reroute_id: int | None  # the action that it is a part of; None in a journal of before there were any


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGiven(Change):
    """A person keeps or rejects an image. `image` is None where it lies in the right folder already."""

    MOVES = ("image",)
    action_id: int
    image_id: int
    verdict: Verdict
    how: How
    gate_keep: float  # what the gate's threshold was then
    image: Move | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictTakenBack(Change):
    """What an action said of an image does not count any more: the verdict before does, and its folder."""

    MOVES = ("image",)
    action_id: int
    image_id: int
    image: Move | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Change):
    """A dropped file goes back where it was dropped, and is not worked again."""

    MOVES = ("file",)
    action_id: int
    image_id: int | None
    file: Move
    stale_report: StaleReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTakenBack(Change):
    """It goes to where it was before it was put back."""

    MOVES = ("file",)
    image_id: int | None
    file: Move
    report: ErrorReport | None = None  # of one that had failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFinished(Change):
    """All jobs of a dropped file have ended: it leaves its inbox."""

    MOVES = ("source",)
    source: Move
    report: ErrorReport | None = None  # where not all went well


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Change):
    """Failed jobs are tried again; what they work on stays where it is."""

    action_id: int | None = None
    job_ids: tuple[int, ...]
    source: str | None = None  # where the image that they work on lies now, if they work on one
    stale_report: StaleReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRetried(Change):
    """The failed job about an image that lies in failed/ is tried again: the image goes back."""

    MOVES = ("image",)
    action_id: int | None = None
    job_id: int
    image_id: int
    image: Move
    stale_report: StaleReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReturned(Change):
    """A dropped file whose jobs have failed goes back into its inbox."""

    MOVES = ("source",)
    action_id: int | None = None
    job_ids: tuple[int, ...]
    source: Move
    stale_report: StaleReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReopened(SourceReturned):
    """Its failed jobs go back into the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTakenAnew(SourceReturned):
    """It is taken as a new one: it was changed, or never understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed(Change):
    """A file that belongs to a picture goes beside it.

    It came to an inbox after the picture had left that, or stayed when a person moved the picture.
    """

    MOVES = ("file",)
    file: Move


Transition = (
    Generated
    | Scored
    | Upscaled
    | Duplicate
    | NotEnlarged
    | Failed
    | Chosen
    | Cancelled
    | Rerouted
    | VerdictGiven
    | VerdictTakenBack
    | Restored
    | RestoreTakenBack
    | SourceFinished
    | Retried
    | ImageRetried
    | SourceReopened
    | SourceTakenAnew
    | Followed
)
