"""Prompt files: `.txt` (a prompt a line, with flags), `.toml` and `.json` (structured)."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec

ENDINGS = (".txt", ".toml", ".json")
MAX_SEED = 2**32 - 1
#: How many images one file may ask for, so that a slip (`--count 1000000`) does not fill the disk.
MAX_IMAGES = 10_000
#: Width and height must be divisible by this: the latent grid of every supported family.
SIZE_STEP = 8


@dataclass(frozen=True, slots=True)
class _Request:
    """One prompt as written: not yet split into seeds."""

    prompt: str
    options: Mapping[str, Any]
    line: int


def parse(name: str, text: str, draw_seed: Callable[[], int]) -> list[PromptSpec]:
    """The images that a prompt file asks for.

    `name` is the file's name (its ending decides the syntax), `draw_seed` gives the seed of a prompt that names
    none. Raises PromptSyntax, naming file and line, for anything that is not understood.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in ENDINGS:
        raise PromptSyntax(
            f"{name}: '{ending or 'no ending'}' is not a prompt file", f"use one of {', '.join(ENDINGS)}"
        )
    reader = {".txt": _read_text, ".toml": _read_toml, ".json": _read_json}[ending]
    requests = list(reader(name, text))
    if not requests:
        raise PromptSyntax(f"{name}: there is no prompt in it", "write one prompt a line")
    several = len(requests) > 1
    specs: list[PromptSpec] = []
    for request in requests:
        _check_text(name, request)
        specs += _expand(name, request, several, draw_seed)
        if len(specs) > MAX_IMAGES:
            raise PromptSyntax(
                f"{name}:{request.line}: the file asks for more than {MAX_IMAGES:,} images",
                "split it, or lower --count",
            )
    return specs


def _check_text(name: str, request: _Request) -> None:
    for text in (request.prompt, *(v for v in request.options.values() if isinstance(v, str))):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PromptSyntax(
                f"{name}:{request.line}: half of a surrogate pair is no text", "write the character itself"
            ) from None


def _expand(name: str, request: _Request, several: bool, draw_seed: Callable[[], int]) -> Iterator[PromptSpec]:
    options = dict(request.options)
    count = options.pop("count", 1)
    seed = options.pop("seed", None)
    seed = draw_seed() if seed is None else seed
    if seed + count - 1 > MAX_SEED:
        seed_fix = f"the last seed is --seed + --count - 1 and may be at most {MAX_SEED}"
        if request.options.get("seed") is not None:
            raise PromptSyntax(f"{name}:{request.line}: the seeds go past {MAX_SEED}", seed_fix)
        seed = MAX_SEED - count + 1
    spec = PromptSpec(
        prompt=request.prompt,
        negative_prompt=options.pop("negative_prompt", ""),
        seed=seed,
        line=request.line if several else None,
        **options,
    )
    for offset in range(count):
        yield replace(spec, seed=seed + offset)


# --- the values, whatever the syntax -------------------------------------------------------------


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"a whole number from {low} to {high}") from None
        fraction = isinstance(value, float) and value != number
        if isinstance(value, bool) or fraction or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return convert


def _number(low: float, high: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"a number from {low:g} to {high:g}") from None
        if isinstance(value, bool) or not low <= number <= high:  # NaN fails the comparison
            raise ValueError(f"a number from {low:g} to {high:g}")
        return number

    return convert


def _side(value: Any) -> int:
    number = _whole(SIZE_STEP, 8192)(value)
    if number % SIZE_STEP:
        raise ValueError(f"a multiple of {SIZE_STEP}, such as {round(number / SIZE_STEP) * SIZE_STEP or 8}")
    return number


def _words(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def _seed(value: Any) -> int | None:
    # -1 is how the Stable Diffusion web UI asks for a random seed.
    return None if str(value) == "-1" else _whole(0, MAX_SEED)(value)


_VALUES: dict[str, Callable[[Any], Any]] = {
    "negative_prompt": _words,
    "seed": _seed,
    "count": _whole(1, MAX_IMAGES),
    "steps": _whole(1, 1000),
    "guidance": _number(0, 100),
    "width": _side,
    "height": _side,
    "model": _words,
}
#: The names that the Stable Diffusion web UI uses for the same things.
_ALIASES = {"cfg_scale": "guidance", "n_iter": "count", "negative": "negative_prompt"}


def _option(name: str, number: int, written: str, value: Any, prefix: str) -> tuple[str, Any]:
    place = f"{name}:{number}:" if prefix else f"{name}: prompt {number}:"
    key = written.removeprefix(prefix).replace("-", "_")
    key = _ALIASES.get(key, key)
    if key not in _VALUES:
        known = sorted({*_VALUES, *_ALIASES, "prompt"})
        near = difflib.get_close_matches(key, known, n=1)
        what = "flag" if prefix else "key"
        raise PromptSyntax(
            f"{place} unknown {what} {_shown(written)}",
            f"did you mean '{prefix}{near[0]}'?" if near else f"known are {', '.join(prefix + k for k in known)}",
        )
    try:
        return key, _VALUES[key](value)
    except ValueError as wanted:
        raise PromptSyntax(f"{place} {written} is {_shown(value)}", f"it takes {wanted}") from None


def _shown(value: Any) -> str:
    """A value as an error message quotes it: short, and never an error itself."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "too long a number"
    return text if len(text) <= 60 else text[:57] + "…"


# --- .txt ----------------------------------------------------------------------------------------


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their number, `\\` at the end continuing onto the next; comments and blanks left out."""
    pending, start = "", 0
    # Not splitlines: it also splits at characters that may stand inside a prompt.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not pending:
            start = number
            if line.lstrip().startswith("#"):
                continue
        if line.endswith("\\") and number < len(lines):
            pending += line[:-1].rstrip() + " "
            continue
        whole = (pending + line.removesuffix("\\")).strip()
        pending = ""
        if whole:
            yield start, whole


def _read_text(name: str, text: str) -> Iterator[_Request]:
    for number, line in _logical_lines(text):
        yield _read_line(name, number, line)


def _read_line(name: str, number: int, line: str) -> _Request:
    """`a prompt --flag value --flag "two words"`; the prompt may also be given as `--prompt`."""
    flags_at = re.search(r"(?:^|\s)--", line)
    head, flags = (line[: flags_at.start()], line[flags_at.end() :]) if flags_at else (line, "")
    prompt = head.strip()
    options: dict[str, Any] = {}
    if flags_at:
        # Only the flags are read as a shell line: a prompt may hold quotes and apostrophes as it likes.
        try:
            words = shlex.split(f"--{flags}")
        except ValueError as error:
            raise PromptSyntax(
                f"{name}:{number}: the flags cannot be read ({error})", "close the quotation marks"
            ) from None
        position = 0
        while position < len(words):
            flag, equals, value = words[position].partition("=")
            position += 1
            if not flag.startswith("--"):
                raise PromptSyntax(
                    f"{name}:{number}: '{flag}' follows a flag that takes one value",
                    'put a value of several words in quotation marks, as in --negative_prompt "blurry, dark"',
                )
            if not equals:
                if position >= len(words):
                    raise PromptSyntax(f"{name}:{number}: {flag} has no value", f"write {flag} VALUE")
                value = words[position]
                position += 1
            if flag == "--prompt":
                if prompt:
                    raise PromptSyntax(
                        f"{name}:{number}: two prompts on one line", "give it before the flags or as --prompt"
                    )
                prompt = value.strip()
                continue
            key, converted = _option(name, number, flag, value, "--")
            if key in options:
                raise PromptSyntax(f"{name}:{number}: {flag} is given twice", "give it once")
            options[key] = converted
    if not prompt:
        raise PromptSyntax(f"{name}:{number}: the line has no prompt", "write the prompt before the flags")
    return _Request(prompt, options, number)


# --- .toml and .json -----------------------------------------------------------------------------


def _read_toml(name: str, text: str) -> Iterator[_Request]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptSyntax(f"{name}: not valid TOML: {error}", "mend the line it names") from None
    yield from _read_document(name, document)


def _read_json(name: str, text: str) -> Iterator[_Request]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptSyntax(f"{name}: not valid JSON: {error}", "mend the place it names") from None
    yield from _read_document(name, document)


def _read_document(name: str, document: Any) -> Iterator[_Request]:
    """One table with `prompt` and options; or `prompts`, a list of such, with shared options beside it."""
    if isinstance(document, list):
        document = {"prompts": document}
    if not isinstance(document, dict):
        raise PromptSyntax(f"{name}: it holds no table", 'write {"prompt": "…"}')
    shared = dict(document)
    entries = shared.pop("prompts", None)
    if entries is None:
        entries, shared = [shared], {}
    if not isinstance(entries, list):
        raise PromptSyntax(f"{name}: 'prompts' is not a list", 'write prompts = ["…", "…"]')
    if "prompt" in shared:
        raise PromptSyntax(f"{name}: both 'prompt' and 'prompts' are given", "use one of them")
    for number, entry in enumerate(entries, 1):
        table = {"prompt": entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict):
            raise PromptSyntax(f"{name}: prompt {number} is neither a text nor a table", 'write "a red circle"')
        table = {**shared, **table}
        prompt = table.pop("prompt", None)
        if not isinstance(prompt, str) or not prompt.strip():
            raise PromptSyntax(f"{name}: prompt {number} has no text", 'give it as prompt = "…"')
        options: dict[str, Any] = {}
        for written, value in table.items():
            key, converted = _option(name, number, str(written), value, "")
            if key in options:
                raise PromptSyntax(
                    f"{name}: prompt {number} gives {key} twice, once as '{written}'", "give it once"
                )
            options[key] = converted
        yield _Request(prompt.strip(), options, number)
