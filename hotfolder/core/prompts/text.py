"""Reads `.txt`: a prompt a line, with flags; settings for the whole file may stand at its top."""

from __future__ import annotations

import bisect
import functools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.core import toml
from hotfolder.core.prompts.fields import AGAIN, ALIASES, ALONE, VALUES
from hotfolder.core.prompts.marks import widths_of
from hotfolder.core.prompts.options_elsewhere import (
    check_nothing,
    is_web_uis,
    long_name,
    says_nothing,
    short_flags,
)
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.values import key_of, option, shown
from hotfolder.errors import PromptSyntax, together
from hotfolder.types import Place

#: Characters of one line, with those that continue it: all that a prompt may have, and more.
_LONGEST_LINE = 100_000
#: Lines that are no prompts: our comments, InvokeAI's, and the fences that chats put around a list.
_COMMENT = re.compile(r"\s*(?:#|//|```\w*\s*$)")
#: What begins and ends the settings at the top of a `.txt`.
_FENCE = "+++"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line as it is meant: several of the file's where `\\` continues them."""

    text: str
    pieces: tuple[tuple[int, int, int], ...]  # index in `text`, line and column (from 1) where that piece begins

    @property
    def number(self) -> int:
        return self.pieces[0][1]

    def behind(self, width: int) -> _Line:
        """The same without so many characters of its first piece."""
        (_, number, column), *others = self.pieces
        moved = [(index - width, line, at) for index, line, at in others]
        return _Line(self.text[width:], ((0, number, column + width), *moved))

    def place(self, name: str, index: int) -> Place:
        """Of the character at this index, in the file of this name."""
        piece = bisect.bisect_right(self.pieces, index, key=lambda piece: piece[0]) - 1
        start, line, column = self.pieces[piece]
        return Place(name, line, column + index - start)


def _logical_lines(name: str, lines: Sequence[str], first: int) -> Iterator[_Line]:
    """Lines without comments and blanks, joined where `\\` continues them; `first` is the number of the first.

    Raises PromptSyntax for one that is too long.
    """
    text = ""
    pieces: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines, first):
        if not pieces and _COMMENT.match(line):
            continue
        goes_on = line.endswith("\\") and number < first + len(lines) - 1
        shown = line.removesuffix("\\") if line.endswith("\\") else line
        stripped = shown.strip()
        if stripped:
            pieces.append((len(text), number, len(shown) - len(shown.lstrip()) + 1))
            text += stripped
        if len(text) > _LONGEST_LINE:
            raise PromptSyntax(
                f"the line goes on for more than {_LONGEST_LINE:,} characters",
                "shorten it",
                at=Place(name, pieces[0][1]),
            )
        if goes_on:
            text += " " if stripped else ""
            continue
        if pieces:
            yield _Line(text.rstrip(), tuple(pieces))
        text, pieces = "", []


def read_text(name: str, text: str) -> Iterator[Request | PromptSyntax]:
    # Not splitlines: it also splits at characters that may stand inside a prompt.
    lines = text.split("\n")
    shared: dict[str, Any] = {}
    first, split = 1, "line"
    if lines[0].rstrip() == _FENCE:
        shared, split, first = _front_matter(name, lines)
        lines = lines[first - 1 :]
    if split == "file":
        whole = " ".join(line.strip() for line in lines if line.strip())
        if whole:
            yield Request(whole, shared, first, Place(name, first, 1))
        return
    for line in _without_marks(name, list(_logical_lines(name, lines, first))):
        yield line if isinstance(line, PromptSyntax) else _read_line(name, line, shared)


def _without_marks(name: str, lines: Sequence[_Line]) -> Sequence[_Line | PromptSyntax]:
    """The lines of a list without its numbers, bullets or '>'; one that has none is a mistake."""
    while (widths := widths_of([line.text for line in lines])) is not None:
        if None in widths:
            return [
                PromptSyntax(
                    "the other lines begin with the mark of a list (1. - >), not this one",
                    "take this line out, or the marks",
                    at=line.place(name, 0),
                )
                for line, width in zip(lines, widths, strict=True)
                if width is None
            ]
        lines = [line.behind(width or 0) for line, width in zip(lines, widths, strict=True)]
    return lines


def _front_matter(name: str, lines: Sequence[str]) -> tuple[dict[str, Any], str, int]:
    """The settings between the fences, how the rest is split, and the number of the first line after them."""
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise PromptSyntax(
            f"the settings that begin with {_FENCE} do not end",
            f"end them with {_FENCE}, too",
            at=Place(name, 1, 1),
        )
    try:
        document = toml.loads("\n".join(["", *lines[1:end]]))
    except ValueError as error:
        raise PromptSyntax(
            f"the settings at the top are not valid TOML: {error}", "mend the line it names", at=Place(name)
        ) from None
    split = document.pop("split", "line")
    if split not in ("line", "file"):
        raise PromptSyntax(f"split is {shown(split)}", "it takes one of line, file", at=Place(name, 2))
    shared: dict[str, Any] = {}
    for written, value in document.items():
        number = next((n for n, line in enumerate(lines, 1) if line.lstrip().startswith(written)), 2)
        key, converted = option(Place(name, number), str(written), value, "")
        if key in shared:
            raise PromptSyntax(
                f"{key} is given twice, once as '{written}'", "give it once", at=Place(name, number)
            )
        shared[key] = converted
    return shared, str(split), end + 2


#: A word as a shell reads it: quotation marks and backslashes keep spaces in it. Or one between the marks of a phone.
_WORD = re.compile(r"""[“„][^“”„]*[“”](?=\s|$)|(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""")
#: Where flags begin. Phones and word processors make one dash of '--': before a flag's name that is meant.
_NAMES = "|".join(
    re.escape(name) for key in (*VALUES, *ALIASES, "prompt") for name in {key, key.replace("_", "-")}
)
_DASH = rf"[\u2012-\u2015\u2212]-?(?=(?:{_NAMES})(?:[\s=]|$))"
_FLAG = re.compile(rf"(?:^|(?<=\s))(?:--|{_DASH})")
#: Flags whose value is a text of words.
_OF_WORDS = ("prompt", "negative_prompt")
#: Quotation marks around the whole of a prompt.
_QUOTED = re.compile(r"""(["'])(?P<plain>(?:(?!\1).)+)\1|[“„](?P<phone>[^“”„]+)[“”]""")


def _is_flag(line: _Line, word: str, at: int) -> bool:
    """Whether a word of a line is a flag: in quotation marks it is a value, whatever it begins with."""
    return _FLAG.match(word) is not None and line.text[at] not in "\"'“„"


def _words_of(name: str, line: _Line, start: int) -> Iterator[tuple[str, int]]:
    """The words from an index on, without their quotation marks, each with its index."""
    at = start
    while at < len(line.text):
        if line.text[at].isspace():
            at += 1
            continue
        found = _WORD.match(line.text, at)
        end = found.end() if found else at
        if found is None or (end < len(line.text) and not line.text[end].isspace()):
            raise PromptSyntax(
                "the flags cannot be read: a quotation mark is never closed",
                "close the quotation marks",
                at=line.place(name, end),
            )
        try:
            yield found[0][1:-1] if found[0][0] in "“„" else "".join(shlex.split(found[0])), at
        except ValueError as error:
            raise PromptSyntax(
                f"the flags cannot be read ({error})", "close the quotation marks", at=line.place(name, at)
            ) from None
        at = end


def _read_line(name: str, line: _Line, shared: Mapping[str, Any]) -> Request | PromptSyntax:
    """`a prompt --flag value --flag "two words"`; the prompt may also be given as `--prompt`."""
    flags_at = _FLAG.search(line.text)
    prompt = (line.text[: flags_at.start()] if flags_at else line.text).rstrip()
    end, short = short_flags(prompt)
    prompt, begins = prompt[:end].strip(), 0
    if quoted := _QUOTED.fullmatch(prompt):
        prompt, begins = (quoted["plain"] or quoted["phone"]).strip(), 1
    flags = _Flags()
    try:
        for letter, value, at in short:
            flags.attempt(functools.partial(flags.add_short, line.place(name, at), letter, value))
        # Only the flags are read as a shell line: a prompt may hold quotes and apostrophes as it likes.
        words = list(_words_of(name, line, flags_at.start())) if flags_at else []
        position = 0
        while position < len(words):
            word, at = words[position]
            flag, equals, value = _FLAG.sub("--", word, count=1).partition("=")
            place = line.place(name, at)
            position += 1
            if not flag.startswith("--"):
                raise PromptSyntax(
                    f"'{flag}' follows a flag that takes one value",
                    'put a value of several words in quotation marks, as in --model "my model"',
                    at=place,
                )
            key = key_of(flag)
            given: Any = value
            if not equals:
                follows = words[position][0] if position < len(words) else None
                if follows is None or _is_flag(line, *words[position]):
                    if key not in ALONE and not says_nothing(key):
                        told = PromptSyntax(f"{flag} has no value", f"write {flag} VALUE", at=place)
                        flags.mistakes.append(told)
                        continue
                    given = ALONE.get(key, "")
                else:
                    given = follows
                    position += 1
            if key in _OF_WORDS:
                # As the web UI reads it: all up to the next flag.
                while position < len(words) and not _is_flag(line, *words[position]):
                    given += f" {words[position][0]}"
                    position += 1
            if key == "prompt":
                if prompt:
                    raise PromptSyntax(
                        "two prompts on one line", "give it before the flags or as --prompt", at=place
                    )
                prompt, begins = given.strip(), at
            elif is_web_uis(key):
                flags.attempt(functools.partial(check_nothing, place, key, given))
            else:
                flags.attempt(functools.partial(flags.add, place, flag, given))
    except PromptSyntax as error:
        flags.mistakes.append(error)
    place = line.place(name, 0)
    if not prompt and not flags.mistakes:
        flags.mistakes.append(
            PromptSyntax("the line has no prompt", "write the prompt before the flags", at=place)
        )
    if flags.mistakes:
        return together(flags.mistakes)
    # Of a prompt in quotation marks, only where it begins.
    where = functools.partial(line.place, name)
    at_prompt = (lambda index: where(begins)) if begins else where
    return Request(prompt, {**shared, **flags.options}, line.number, place, frozenset(flags.options), at_prompt)


class _Flags:
    """The options of one line, and what is wrong with them."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.mistakes: list[PromptSyntax] = []

    def attempt(self, act: Callable[[], None]) -> None:
        """Notes a mistake and goes on: the next flag can be read all the same."""
        try:
            act()
        except PromptSyntax as error:
            self.mistakes.append(error)

    def add(self, place: Place, flag: str, given: Any) -> None:
        """Raises PromptSyntax."""
        key, converted = option(place, flag, given, "--")
        if key in self.options and key not in AGAIN:
            raise PromptSyntax(f"{flag} is given twice", "give it once", at=place)
        self.options[key] = (*self.options.get(key, ()), *converted) if key in AGAIN else converted

    def add_short(self, place: Place, letter: str, given: str) -> None:
        """One of InvokeAI's. Raises PromptSyntax."""
        self.add(place, long_name(place, letter), given)
