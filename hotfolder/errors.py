"""One tree of errors; each class carries its stable `kind`, its failure class and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from hotfolder.masking import masked
from hotfolder.printable import printable
from hotfolder.types import ErrorInfo, FailureClass, Place


class ExitCode(IntEnum):
    """What the commands end with."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    PARTLY_FAILED = 3
    MODEL_MISSING = 4
    INTERRUPTED = 130


_Error = TypeVar("_Error", bound="HotfolderError")


class HotfolderError(Exception):
    """Something a person should be told: what happened, and how to mend it."""

    kind: ClassVar[str] = "failure"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE
    failure: ClassVar[FailureClass] = FailureClass.TRANSIENT

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(masked(message))
        self.message = printable(masked(message))  # it may quote a file, its name, or an address
        self.fix = printable(masked(fix))
        self.others: tuple[HotfolderError, ...] = ()  # found in the same go

    @property
    def each(self) -> tuple[HotfolderError, ...]:
        """This error alone, and the others that were found with it."""
        alone = copy(self)
        alone.others = ()
        return (alone, *self.others)

    @property
    def summary(self) -> str:
        """What happened, and how many others there are."""
        more = "1 more mistake" if len(self.others) == 1 else f"{len(self.others)} more mistakes"
        return f"{self.message} (and {more})" if self.others else self.message

    def told(self) -> dict[str, Any]:
        """For JSON, without the others."""
        return {"kind": self.kind, "message": self.message, "fix": self.fix}

    def info(self) -> ErrorInfo:
        """The same error as a plain record that crosses processes."""
        return ErrorInfo(self.kind, self.failure, self.message, self.fix)


class UsageError(HotfolderError):
    """The command was not understood, or does not fit what it was pointed at."""

    kind = "usage"
    exit_code = ExitCode.USAGE


def gathered(found: Sequence[_Error]) -> _Error:
    """The first of several errors, of which there is at least one, with all others beside it."""
    first = copy(found[0])  # it may be kept, and be gathered again
    first.others = tuple(each for error in found for each in error.each)[1:]
    return first


def raise_all(found: Sequence[HotfolderError]) -> None:
    """Raises them as one, as `gathered` puts them together; nothing where there is none."""
    if found:
        raise gathered(found)


class Interrupted(HotfolderError):
    """A person stopped it before its end."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class ConfigError(UsageError):
    """The configuration was not understood.

    `where` is the file, or the variable of the environment; `line` and `key` are there where they are known.
    """

    kind = "config"

    def __init__(
        self, message: str, fix: str = "", *, where: str = "", line: int | None = None, key: str = ""
    ) -> None:
        super().__init__(message, fix)
        self.where, self.line, self.key = printable(where), line, printable(key)

    def told(self) -> dict[str, Any]:
        """With its place, as far as that is known."""
        return {**super().told(), "where": self.where or None, "line": self.line, "key": self.key or None}


class AlreadyRunning(HotfolderError):
    """Another daemon works on this root."""

    kind = "already_running"


class LedgerError(HotfolderError):
    """The database cannot be used."""

    kind = "ledger"


class LedgerMismatch(LedgerError):
    """A statement does not fit what is in the database: its schema, or a row that somebody changed."""


class ModelMissing(HotfolderError):
    """A model that is asked for is not on this machine."""

    kind = "model_missing"
    exit_code = ExitCode.MODEL_MISSING
    failure = FailureClass.ENVIRONMENT


class ModelDamaged(HotfolderError):
    """A model's weights are not what they should be."""

    kind = "model_damaged"
    failure = FailureClass.ENVIRONMENT


class DownloadFailed(HotfolderError):
    """A model could not be fetched."""

    kind = "download"


class BadInput(HotfolderError):
    """The file itself cannot be worked."""

    kind = "bad_input"
    failure = FailureClass.BAD_INPUT


class NotAnImage(BadInput):
    """No decoder recognises the file."""

    kind = "not_an_image"


class EmptyFile(BadInput):
    """The file has no bytes."""

    kind = "empty_file"


class TruncatedImage(BadInput):
    """The image ends before its end, or is damaged inside."""

    kind = "truncated_image"


class ImageTooLarge(BadInput):
    """The image has more pixels than the limit."""

    kind = "image_too_large"


class EnlargedTooLarge(BadInput):
    """Enlarged, the image would have more megapixels than are wanted without being asked for."""

    kind = "enlarged_too_large"


class FileTooLarge(BadInput):
    """The file has more bytes, or more metadata, than the limit."""

    kind = "file_too_large"


class UnsupportedImage(BadInput):
    """The image decodes, but is of a sort that the line does not work."""

    kind = "unsupported_image"


class PromptSyntax(BadInput):
    """A prompt file was not understood. The message begins with the place, where that is known."""

    kind = "prompt_syntax"

    def __init__(self, message: str, fix: str = "", at: Place | None = None) -> None:
        super().__init__(message if at is None else f"{at} {message}", fix)
        self.at = at
        self.mistakes: tuple[PromptSyntax, ...] = (self,)  # where it is several together: each of them


#: So many mistakes of one file are told; and so many are looked for.
_TOLD, MOST_MISTAKES = 10, 100


def together(errors: Sequence[PromptSyntax]) -> PromptSyntax:
    """All mistakes of a file as one error; there is at least one. Each fix says what it is of, where they differ."""
    if len(errors) == 1:
        return errors[0]
    mistakes = tuple(mistake for error in errors for mistake in error.mistakes)
    told = mistakes[:_TOLD]
    more = f"; and {len(mistakes) - _TOLD} more mistakes" if len(mistakes) > _TOLD else ""
    fixes = list(dict.fromkeys(mistake.fix for mistake in told))
    if len(fixes) > 1:
        fixes = list(dict.fromkeys(map(_fix_with_place, told)))
    found = PromptSyntax("; ".join(mistake.message for mistake in told) + more, "; ".join(fixes))
    found.mistakes = mistakes
    return found


def _fix_with_place(mistake: PromptSyntax) -> str:
    where = mistake.at.in_file if mistake.at is not None else ""
    return f"{where}: {mistake.fix}" if where else mistake.fix


class Vanished(BadInput):
    """The file was taken away before it could be worked."""

    kind = "vanished"


class GenerationFailed(HotfolderError):
    """The model gave no usable picture."""

    kind = "generation_failed"


class FailedPicture(GenerationFailed):
    """The same seed gives no better one."""

    failure = FailureClass.BAD_INPUT


class EnvironmentTrouble(HotfolderError):
    """Disk, device or share: nothing wrong with the file."""

    kind = "environment"
    failure = FailureClass.ENVIRONMENT


class CannotPlace(HotfolderError):
    """One file cannot be moved to where it belongs; its neighbours can."""

    kind = "cannot_place"


class UnreadableJournal(HotfolderError):
    """What was begun cannot be finished, because the note of it cannot be read."""

    kind = "journal"
    failure = FailureClass.BAD_INPUT


class DiskFull(EnvironmentTrouble):
    """No space left."""

    kind = "disk_full"


class DeviceTrouble(EnvironmentTrouble):
    """The device is gone or refuses work."""

    kind = "device"


class DamagedOnTheWay(HotfolderError):
    """Bytes that came from another machine, or went there, are not those that were sent."""

    kind = "damaged_on_the_way"


class DeviceLost(HotfolderError):
    """The device failed in a way that this process cannot recover from."""

    kind = "device_lost"


class DeviceOccupied(DeviceTrouble):
    """Another program holds the memory of the device that a model needs."""

    kind = "device_occupied"


class DeviceTooHot(DeviceTrouble):
    """The device is hotter than is wanted, and is to cool first."""

    kind = "device_too_hot"


class OutOfMemory(HotfolderError):
    """The device's memory is too small for the work, or somebody else has it."""

    kind = "out_of_memory"


class Outdated(HotfolderError):
    """The program was changed while this process runs: only a new one can go on."""

    kind = "outdated"
    failure = FailureClass.ENVIRONMENT


class ScoreFailed(HotfolderError):
    """The scorer gave no number."""

    kind = "score_failed"


class NoPrompt(BadInput):
    """A scorer judges pictures by their prompts, and there is none."""

    kind = "no_prompt"


class WorkerLost(HotfolderError):
    """The worker process ended in the middle of this job."""

    kind = "worker_lost"
    failure = FailureClass.POISON
