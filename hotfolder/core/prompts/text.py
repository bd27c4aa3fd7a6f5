"""Reads `.txt`: a prompt a line, with flags; settings for the whole file may stand at its top."""

from __future__ import annotations

import bisect
import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.core import toml
from hotfolder.core.prompts.fields import AGAIN, ALIASES, ALONE, VALUES
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.values import key_of, option, shown
from hotfolder.errors import PromptSyntax

#: Characters of one line, with those that continue it: all that a prompt may have, and more.
_LONGEST_LINE = 100_000
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

    def place(self, name: str, index: int) -> str:
        """'p.txt:3:14:' for the character at this index."""
        piece = bisect.bisect_right(self.pieces, index, key=lambda piece: piece[0]) - 1
        start, line, column = self.pieces[piece]
        return f"{name}:{line}:{column + index - start}:"


def _logical_lines(name: str, lines: Sequence[str], first: int) -> Iterator[_Line]:
    """Lines without comments and blanks, joined where `\\` continues them; `first` is the number of the first.

    Raises PromptSyntax for one that is too long.
    """
    text = ""
    pieces: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines, first):
        if not pieces and line.lstrip().startswith("#"):
            continue
        goes_on = line.endswith("\\") and number < first + len(lines) - 1
        shown = line.removesuffix("\\") if line.endswith("\\") else line
        stripped = shown.strip()
        if stripped:
            pieces.append((len(text), number, len(shown) - len(shown.lstrip()) + 1))
            text += stripped
        if len(text) > _LONGEST_LINE:
            raise PromptSyntax(
                f"{name}:{pieces[0][1]}: the line goes on for more than {_LONGEST_LINE:,} characters", "shorten it"
            )
        if goes_on:
            text += " " if stripped else ""
            continue
        if pieces:
            yield _Line(text.rstrip(), tuple(pieces))
        text, pieces = "", []


def read_text(name: str, text: str) -> Iterator[Request]:
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
            yield Request(whole, shared, first, f"{name}:{first}:1:")
        return
    for line in _logical_lines(name, lines, first):
        yield _read_line(name, line, shared)


def _front_matter(name: str, lines: Sequence[str]) -> tuple[dict[str, Any], str, int]:
    """The settings between the fences, how the rest is split, and the number of the first line after them."""
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise PromptSyntax(
            f"{name}:1:1: the settings that begin with {_FENCE} do not end", f"end them with {_FENCE}, too"
        )
    try:
        document = toml.loads("\n".join(["", *lines[1:end]]))
    except ValueError as error:
        raise PromptSyntax(
            f"{name}: the settings at the top are not valid TOML: {error}", "mend the line it names"
        ) from None
    split = document.pop("split", "line")
    if split not in ("line", "file"):
        raise PromptSyntax(f"{name}:2: split is {shown(split)}", "it takes one of line, file")
    shared: dict[str, Any] = {}
    for written, value in document.items():
        number = next((n for n, line in enumerate(lines, 1) if line.lstrip().startswith(written)), 2)
        key, converted = option(f"{name}:{number}:", str(written), value, "")
        if key in shared:
            raise PromptSyntax(f"{name}:{number}: {key} is given twice, once as '{written}'", "give it once")
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
#: Quotation marks around the whole of a prompt.
_QUOTED = re.compile(r"""(["'])(?P<plain>(?:(?!\1).)+)\1|[“„](?P<phone>[^“”„]+)[“”]""")


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
                f"{line.place(name, end)} the flags cannot be read: a quotation mark is never closed",
                "close the quotation marks",
            )
        try:
            yield found[0][1:-1] if found[0][0] in "“„" else "".join(shlex.split(found[0])), at
        except ValueError as error:
            raise PromptSyntax(
                f"{line.place(name, at)} the flags cannot be read ({error})", "close the quotation marks"
            ) from None
        at = end


def _read_line(name: str, line: _Line, shared: Mapping[str, Any]) -> Request:
    """`a prompt --flag value --flag "two words"`; the prompt may also be given as `--prompt`."""
    flags_at = _FLAG.search(line.text)
    prompt = (line.text[: flags_at.start()] if flags_at else line.text).strip()
    begins = 0
    if quoted := _QUOTED.fullmatch(prompt):
        prompt, begins = (quoted["plain"] or quoted["phone"]).strip(), 1
    options: dict[str, Any] = {}
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
                f"{place} '{flag}' follows a flag that takes one value",
                'put a value of several words in quotation marks, as in --negative_prompt "blurry, dark"',
            )
        given: Any = value
        if not equals:
            follows = words[position][0] if position < len(words) else None
            if key_of(flag) in ALONE and (follows is None or _FLAG.match(follows)):
                given = ALONE[key_of(flag)]
            elif follows is None:
                raise PromptSyntax(f"{place} {flag} has no value", f"write {flag} VALUE")
            else:
                given = follows
                position += 1
        if flag == "--prompt":
            if prompt:
                raise PromptSyntax(f"{place} two prompts on one line", "give it before the flags or as --prompt")
            prompt, begins = given.strip(), at
            continue
        key, converted = option(place, flag, given, "--")
        if key in options and key not in AGAIN:
            raise PromptSyntax(f"{place} {flag} is given twice", "give it once")
        options[key] = (*options.get(key, ()), *converted) if key in AGAIN else converted
    place = line.place(name, 0)
    if not prompt:
        raise PromptSyntax(f"{place} the line has no prompt", "write the prompt before the flags")
    # Of a prompt in quotation marks, only where it begins.
    where = functools.partial(line.place, name)
    at_prompt = (lambda index: where(begins)) if begins else where
    return Request(prompt, {**shared, **options}, line.number, place, frozenset(options), at_prompt)
