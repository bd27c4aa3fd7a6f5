"""Files that ask for images: prompt files, and images that say how they were generated."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.core.prompts import ENDINGS, parse
from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.errors import PromptSyntax
from hotfolder.files.regular import Opens, open_regular, read_at_most
from hotfolder.files.trouble import explain_read
from hotfolder.imaging.metadata import IMAGE_ENDINGS, read_generation
from hotfolder.prompt_files.decoding import NotText, decoded
from hotfolder.types import PromptSpec

log = logging.getLogger(__name__)
#: A prompt file is text that people write: more than this is something else.
_MOST_BYTES = 4 * 2**20


def asks_for_images(path: Path) -> bool:
    """Whether it is such a file, by its name."""
    return path.suffix.lower() in ENDINGS or says_itself(path)


def says_itself(path: Path) -> bool:
    """Whether it is an image, by its name."""
    return path.suffix.lower() in IMAGE_ENDINGS


def draw_seed() -> int:
    return secrets.randbelow(2**32)  # short enough to be typed


def read_specs(
    path: Path,
    lists: Callable[[str], Sequence[str] | None],
    defaults: Mapping[str, Any] | None = None,
    opens: Opens = open_regular,
    *,
    adapt: bool = False,
) -> list[PromptSpec]:
    """The images that a file asks for; `lists` and `defaults` are as in `parse`, an image has no use for them.
    `opens` says how the file is reached; `adapt` is as in `from_metadata`.

    Raises PromptSyntax, which names the file; NotAnImage; EnvironmentTrouble where it cannot be read just now.
    """
    if says_itself(path):
        return [from_metadata(path.name, read_generation(path, opens), adapt=adapt)]
    return parse(path.name, _text_of(path, opens), draw_seed, lists, defaults, adapt=adapt)


def _text_of(path: Path, opens: Opens) -> str:
    try:
        data = read_at_most(path, _MOST_BYTES, opens)
    except OSError as error:
        if (trouble := explain_read(error, path.name)) is not None:
            raise trouble from error
        raise PromptSyntax(f"{path.name} cannot be read: {error.strerror}", "let this user read it") from None
    if data is None:
        raise PromptSyntax(f"{path.name} is larger than {_MOST_BYTES >> 20} MiB", "split it")
    return read_text(path.name, data)


def read_text(name: str, data: bytes) -> str:
    """The text of a file, whatever editor wrote it. Raises PromptSyntax for what is none."""
    try:
        text, encoding = decoded(data)
    except NotText as error:
        raise PromptSyntax(
            f"{name} cannot be read: {error}", "save it as UTF-8; images go to inbox/score"
        ) from None
    if encoding == "cp1252":
        log.warning("%s is not UTF-8: read as Windows-1252; save it as UTF-8 if letters came out wrong", name)
    return text
