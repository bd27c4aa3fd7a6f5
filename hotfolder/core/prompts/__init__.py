"""Prompt files: `.txt` (a prompt a line, with flags), `.toml` and `.json` (structured)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from hotfolder.core.prompts import wildcards
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.structured import read_json, read_toml
from hotfolder.core.prompts.text import read_text
from hotfolder.core.prompts.values import ALIASES, MAX_IMAGES, MAX_SEED, VALUES
from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec

__all__ = ["ALIASES", "ENDINGS", "MAX_IMAGES", "MAX_SEED", "VALUES", "parse", "render"]
ENDINGS = (".txt", ".toml", ".json")
#: Keys that say which seeds: a line that has one of them has none of the file's.
_SEEDS = ("seed", "seeds", "count")


def parse(
    name: str,
    text: str,
    draw_seed: Callable[[], int],
    lists: Callable[[str], Sequence[str] | None] = lambda _: None,
) -> list[PromptSpec]:
    """The images that a prompt file asks for.

    `name` is the file's name (its ending decides the syntax), `draw_seed` gives the seed of a prompt that names
    none, `lists` the texts of a wildcard list, or None. Raises PromptSyntax, naming file, line and, where there is
    one, column, for anything that is not understood.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in ENDINGS:
        raise PromptSyntax(
            f"{name}: '{ending or 'no ending'}' is not a prompt file", f"use one of {', '.join(ENDINGS)}"
        )
    reader = {".txt": read_text, ".toml": read_toml, ".json": read_json}[ending]
    requests = list(reader(name, text))
    if not requests:
        raise PromptSyntax(f"{name}: there is no prompt in it", "write one prompt a line")
    several = len(requests) > 1
    specs: list[PromptSpec] = []
    for request in requests:
        _check_text(request)
        for spec in _expand(request, several, draw_seed, lists):
            specs.append(spec)
            if len(specs) > MAX_IMAGES:
                raise PromptSyntax(
                    f"{request.place} the file asks for more than {MAX_IMAGES:,} images",
                    "split it, or lower --count",
                )
    return specs


def render(specs: Sequence[PromptSpec]) -> str:
    """A `.json` that asks for these very images, whatever their prompts hold: parse(render(specs)) == specs.

    Where they stood in another file, and the template that they came from, are not part of it.
    """
    entries = []
    for spec in specs:
        told = {key: getattr(spec, key) for key in VALUES if hasattr(spec, key)}
        entry = {"prompt": spec.prompt, **{key: value for key, value in told.items() if value not in (None, "")}}
        entries.append({**entry, "wildcards": "off"})
    return json.dumps({"prompts": entries} if len(entries) > 1 else entries[0], ensure_ascii=False)


def _check_text(request: Request) -> None:
    for text in (request.prompt, *(v for v in request.options.values() if isinstance(v, str))):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PromptSyntax(
                f"{request.place} half of a surrogate pair is no text", "write the character itself"
            ) from None


def _expand(
    request: Request, several: bool, draw_seed: Callable[[], int], lists: Callable[[str], Sequence[str] | None]
) -> Iterator[PromptSpec]:
    """An image for each seed, which draws its own of the wildcards; or for each combination, with each seed."""
    options = dict(request.options)
    mode = options.pop("wildcards", "sample")
    seeds = _seeds_of(request, options, draw_seed)
    negative = options.pop("negative_prompt", "")
    spec = PromptSpec(
        prompt=request.prompt, negative_prompt=negative, seed=0, line=request.line if several else None, **options
    )
    try:
        template = wildcards.parse(request.prompt, lists) if mode != "off" else None
        unwanted = wildcards.parse(negative, lists) if mode != "off" else None
        if template is None or unwanted is None or (template.is_plain and unwanted.is_plain):
            plain = "".join(map(str, template.parts)) if template else request.prompt
            without = "".join(map(str, unwanted.parts)) if unwanted else negative
            yield from (replace(spec, prompt=plain, negative_prompt=without, seed=seed) for seed in seeds)
            return
        if mode == "all":
            for prompt in template.every():
                for without in unwanted.every():
                    for seed in seeds:
                        yield _resolved(request, spec, prompt, without, seed)
        else:
            for seed in seeds:
                rng = random.Random(seed)
                yield _resolved(request, spec, template.sample(rng), unwanted.sample(rng), seed)
    except wildcards.WildcardError as error:
        place = request.at(error.at) if request.at and error.text == request.prompt else request.place
        raise PromptSyntax(f"{place} {error}", error.fix) from None


def _resolved(request: Request, spec: PromptSpec, prompt: str, negative: str, seed: int) -> PromptSpec:
    if not prompt:
        raise PromptSyntax(f"{request.place} with seed {seed} its wildcards leave no prompt", "give it some words")
    return replace(spec, prompt=prompt, negative_prompt=negative, seed=seed, template=request.prompt)


def _seeds_of(request: Request, options: dict[str, Any], draw_seed: Callable[[], int]) -> Sequence[int]:
    """Takes what says which seeds out of the options."""
    if request.own & set(_SEEDS):
        options = _without_the_files(request, options)
    listed, count, seed = options.pop("seeds", None), options.pop("count", None), options.pop("seed", None)
    if listed is not None:
        if count is not None or seed is not None:
            raise PromptSyntax(
                f"{request.place} seeds beside seed or count", "--seeds says them all: leave the other out"
            )
        return tuple(listed)
    count = count or 1
    first = draw_seed() if seed is None else seed
    if first + count - 1 > MAX_SEED:
        if seed is not None:
            raise PromptSyntax(
                f"{request.place} the seeds go past {MAX_SEED}",
                f"the last seed is --seed + --count - 1 and may be at most {MAX_SEED}",
            )
        first = MAX_SEED - count + 1
    return range(first, first + count)


def _without_the_files(request: Request, options: dict[str, Any]) -> dict[str, Any]:
    """What a line says of seeds replaces all that its file says of them; but a count goes with the file's seed."""
    keep = set(request.own)
    if "seeds" not in request.own and "seeds" not in options:
        keep |= {"seed", "count"}
    for key in _SEEDS:
        if key not in keep:
            options.pop(key, None)
    return options
