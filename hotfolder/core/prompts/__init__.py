"""Prompt files: `.txt` (a prompt a line, with flags), `.toml` and `.json` (structured)."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from hotfolder.core.prompts import wildcards
from hotfolder.core.prompts.converters import MAX_IMAGES, MAX_SEED, MOST_CHARACTERS
from hotfolder.core.prompts.fields import ALIASES, VALUES
from hotfolder.core.prompts.foreign import web_ui
from hotfolder.core.prompts.recipe import spec_of
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.structured import read_json, read_toml
from hotfolder.core.prompts.table import read_csv
from hotfolder.core.prompts.tags import take_loras
from hotfolder.core.prompts.text import read_text
from hotfolder.core.prompts.values import option
from hotfolder.core.prompts.wildcard_syntax import WildcardError
from hotfolder.core.until import USUAL_FACTOR, at_first
from hotfolder.errors import MOST_MISTAKES, PromptSyntax, together
from hotfolder.types import Place, PromptSpec

__all__ = [
    "ALIASES",
    "ENDINGS",
    "MAX_IMAGES",
    "MAX_SEED",
    "VALUES",
    "images_of",
    "of_prompt",
    "options_of",
    "parse",
    "place_of",
    "render",
    "said",
    "unsaid",
]
_FIELDS = tuple(each.name for each in dataclasses.fields(PromptSpec))
ENDINGS = (".txt", ".toml", ".json", ".csv")
#: Those whose prompts are told by their number, not by a line.
_COUNTED = (".toml", ".json")
#: Characters of all images' prompts together: each of them is a row with its own.
_MOST_TOGETHER = 10_000_000
#: Keys that say which seeds: a line that has one of them has none of the file's.
_SEEDS = ("seed", "seeds", "count", "batch_size")


def parse(
    name: str,
    text: str,
    draw_seed: Callable[[], int],
    lists: Callable[[str], Sequence[str] | None] = lambda _: None,
    defaults: Mapping[str, Any] | None = None,
    *,
    adapt: bool = False,
) -> list[PromptSpec]:
    """The images that a prompt file asks for.

    `name` is the file's name (its ending decides the syntax), `draw_seed` gives the seed of a prompt that names
    none, `lists` the texts of a wildcard list, or None; `defaults` are options, as `options_of` gives them, for
    prompts that have none of their own; `adapt` is as in `from_metadata`. Raises PromptSyntax, naming file, line and,
    where there is one, column, for anything that is not understood.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in ENDINGS:
        raise PromptSyntax(
            f"'{ending or 'no ending'}' is not a prompt file", f"use one of {', '.join(ENDINGS)}", at=Place(name)
        )
    if ending == ".txt" and web_ui.is_written_in(text):
        if defaults:
            raise PromptSyntax(f"{name} says itself how a picture was made", "leave the options out")
        return [spec_of(name, web_ui.read(name, text), adapt=adapt)]
    reader = {".txt": read_text, ".toml": read_toml, ".json": read_json, ".csv": read_csv}[ending]
    requests = reader(name, text)
    if defaults:
        requests = (
            replace(each, options={**defaults, **each.options}) if isinstance(each, Request) else each
            for each in requests
        )
    specs = _specs(requests, draw_seed, lists)
    if not specs:
        raise PromptSyntax("there is no prompt in it", "write one prompt a line", at=Place(name))
    return specs


def of_prompt(
    prompt: str,
    options: Mapping[str, Any],
    draw_seed: Callable[[], int],
    lists: Callable[[str], Sequence[str] | None] = lambda _: None,
) -> list[PromptSpec]:
    """The images that a single prompt asks for; `options` as `options_of` gives them. Raises PromptSyntax."""
    if not prompt.strip():
        raise PromptSyntax("the prompt has no words", "say what is to be drawn")
    return _specs([Request(prompt.strip(), options, 1, Place("the prompt"), frozenset(options))], draw_seed, lists)


def place_of(name: str, spec: PromptSpec) -> Place:
    """Where in the file of this name a prompt of it stands."""
    if PurePosixPath(name).suffix.lower() in _COUNTED:
        return Place(name, prompt=spec.line)
    return Place(name, spec.line)


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a command line has them: those that are None left out, the others checked. Raises PromptSyntax."""
    asked = {key: value for key, value in given.items() if value is not None}
    return dict(option(None, f"--{key.replace('_', '-')}", value, "--") for key, value in asked.items())


def _specs(
    requests: Iterable[Request | PromptSyntax],
    draw_seed: Callable[[], int],
    lists: Callable[[str], Sequence[str] | None],
) -> list[PromptSpec]:
    """Takes one after the other: a file that asks for too much is not read to its end. All mistakes are told."""
    requests = iter(requests)
    begin = list(itertools.islice(requests, 2))
    several = len(begin) > 1
    specs: list[PromptSpec] = []
    images = characters = 0
    mistakes: list[PromptSyntax] = []
    for request in itertools.chain(begin, requests):
        if isinstance(request, PromptSyntax):
            mistakes.append(request)
            if len(mistakes) >= MOST_MISTAKES:
                break
            continue
        try:
            _check_text(request)
            for spec in _expand(request, several, draw_seed, lists):
                specs.append(spec)
                images += spec.best_of or most_of(spec)
                if images > MAX_IMAGES:
                    raise PromptSyntax(
                        f"the file asks for more than {MAX_IMAGES:,} images",
                        "split it, or lower --count",
                        at=request.place,
                    )
                characters += sum(map(len, (spec.prompt, spec.negative_prompt, spec.template or "")))
                if characters > _MOST_TOGETHER:
                    raise PromptSyntax(
                        f"the prompts of the file's images have more than {_MOST_TOGETHER:,} characters",
                        "split it, shorten them, or lower --count",
                        at=request.place,
                    )
        except PromptSyntax as error:
            mistakes.append(error)
            if len(mistakes) >= MOST_MISTAKES or images > MAX_IMAGES or characters > _MOST_TOGETHER:
                break
    if mistakes:
        raise together(mistakes)
    return specs


def images_of(spec: PromptSpec) -> Iterator[PromptSpec]:
    """Each image that is drawn of it at first, with its own seed of a set."""
    first = at_first(spec.until_kept, most_of(spec)) if spec.until_kept is not None else 1
    for extra in range(spec.best_of or first):
        yield replace(spec, seed=spec.seed + extra)


def most_of(spec: PromptSpec) -> int:
    """How many seeds are drawn of it, at most, where it is no set of which the best are kept."""
    if spec.until_kept is None:
        return 1
    return spec.at_most if spec.at_most is not None else spec.until_kept * USUAL_FACTOR


def said(spec: PromptSpec) -> dict[str, Any]:
    """The fields that say something, by name: what a worker is told, and what the ledger keeps."""
    found = {key: value for key in _FIELDS if (value := getattr(spec, key)) not in (None, ())}
    for key in ("exact", "is_plain_cfg"):
        if not found[key]:
            del found[key]
    return found


def unsaid(told: Mapping[str, Any]) -> PromptSpec:
    """The other way round: `told` is what `said` gave, perhaps out of JSON. Raises TypeError for an unknown field."""
    lora = tuple((name, weight) for name, weight in told.get("lora", ()))
    notes = tuple(told.get("notes", ()))
    return PromptSpec(**{"negative_prompt": "", **told, "lora": lora, "notes": notes})


def render(specs: Sequence[PromptSpec]) -> str:
    """A `.json` that asks for these very images, whatever their prompts hold: parse(render(specs)) == specs.

    Where they stood in another file, and the template that they came from, are not part of it.
    """
    entries = []
    for spec in specs:
        told = {key: getattr(spec, key) for key in VALUES if hasattr(spec, key)}
        told["lora"] = dict(spec.lora)
        kept = {key: value for key, value in told.items() if value is not None and value not in ("", {})}
        entries.append({"prompt": spec.prompt, **kept, "wildcards": "off"})
    return json.dumps({"prompts": entries} if len(entries) > 1 else entries[0], ensure_ascii=False)


def _check_text(request: Request) -> None:
    for text in (request.prompt, *(v for v in request.options.values() if isinstance(v, str))):
        if len(text) > MOST_CHARACTERS:
            raise PromptSyntax(
                f"a text of {len(text):,} characters: {MOST_CHARACTERS:,} are the most",
                "shorten it",
                at=request.place,
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PromptSyntax(
                "half of a surrogate pair is no text", "write the character itself", at=request.place
            ) from None


def _expand(
    request: Request, several: bool, draw_seed: Callable[[], int], lists: Callable[[str], Sequence[str] | None]
) -> Iterator[PromptSpec]:
    """An image for each seed, which draws its own of the wildcards; or for each combination, with each seed."""
    options = dict(request.options)
    mode = options.pop("wildcards", "sample")
    _check_together(request, options)
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
            for seed in seeds:
                found = replace(spec, prompt=plain, negative_prompt=without, seed=seed)
                yield _tagged(request, found) if mode != "off" else found
            return
        if mode == "all":
            for prompt in template.every():
                for without in unwanted.every():
                    for seed in seeds:
                        yield _resolved(request, spec, prompt, without, seed)
        else:
            for seed in seeds:
                rng = random.Random(seed)
                yield _resolved(request, spec, template.sample(rng, seed), unwanted.sample(rng, seed), seed)
    except WildcardError as error:
        place = request.at(error.at) if request.at and error.text == request.prompt else request.place
        raise PromptSyntax(str(error), error.fix, at=place) from None


def _resolved(request: Request, spec: PromptSpec, prompt: str, negative: str, seed: int) -> PromptSpec:
    if not prompt:
        raise PromptSyntax(
            f"with seed {seed} its wildcards leave no prompt", "give it some words", at=request.place
        )
    found = replace(spec, prompt=prompt, negative_prompt=negative, seed=seed, template=request.prompt)
    return _tagged(request, found)


def _tagged(request: Request, spec: PromptSpec) -> PromptSpec:
    """`<lora:name:0.8>` of the prompt as what it means."""
    try:
        prompt, lora = take_loras(spec.prompt)
    except ValueError as wanted:
        raise PromptSyntax(
            "a <lora:…> of the prompt is not understood", f"write {wanted}", at=request.place
        ) from None
    if not lora:
        return spec
    if not prompt:
        raise PromptSyntax("besides <lora:…> there is no prompt", "give it some words", at=request.place)
    names = [name for name, _ in (*spec.lora, *lora)]
    if len(set(names)) < len(names):
        raise PromptSyntax("a LoRA is named twice", "name each once", at=request.place)
    return replace(spec, prompt=prompt, lora=(*spec.lora, *lora))


def _check_together(request: Request, options: Mapping[str, Any]) -> None:
    """What makes sense only beside something else."""
    if options.get("strength") is not None and options.get("init_image") is None:
        raise PromptSyntax(
            "strength without init_image", "name the picture to begin from: --init-image", at=request.place
        )
    keep, best_of = options.get("keep"), options.get("best_of")
    if keep is not None and best_of is None:
        raise PromptSyntax("keep without best_of", "say of how many: --best-of 8 --keep 2", at=request.place)
    if keep is not None and best_of is not None and keep > best_of:
        raise PromptSyntax(
            f"{keep} of {best_of} cannot be kept", "lower --keep, or raise --best-of", at=request.place
        )
    until, most = options.get("until_kept"), options.get("at_most")
    if most is not None and until is None:
        raise PromptSyntax(
            "at_most without until_kept", "say of what: --until-kept 5 --at-most 60", at=request.place
        )
    if until is not None and most is not None and most < until:
        raise PromptSyntax(
            f"of {most} seeds {until} cannot be kept", "raise --at-most, or lower --until-kept", at=request.place
        )
    if until is not None and best_of is not None:
        raise PromptSyntax(
            "until_kept beside best_of", "the gate decides, or the comparison: leave one out", at=request.place
        )
    names = [name for name, _ in options.get("lora", ())]
    if len(set(names)) < len(names):
        raise PromptSyntax("a LoRA is named twice", "name each once", at=request.place)


def _seeds_of(request: Request, options: dict[str, Any], draw_seed: Callable[[], int]) -> Sequence[int]:
    """Takes what says which seeds out of the options."""
    if request.own & set(_SEEDS):
        options = _without_the_files(request, options)
    listed, count, seed = options.pop("seeds", None), options.pop("count", None), options.pop("seed", None)
    times = options.pop("batch_size", None)
    until, most = options.get("until_kept"), options.get("at_most")
    # The best of so many, and so many until enough were kept, take as many seeds.
    step = options.get("best_of") or (most or until * USUAL_FACTOR if until else 1)
    if listed is not None:
        if count is not None or seed is not None or times is not None:
            raise PromptSyntax(
                "seeds beside seed or count (or batch_size)",
                "--seeds says them all: leave the other out",
                at=request.place,
            )
        ordered = sorted(listed)
        if any(b - a < step for a, b in itertools.pairwise(ordered)) or ordered[-1] + step - 1 > MAX_SEED:
            raise PromptSyntax(
                f"with --{'until-kept' if until else f'best-of {step}'} each seed stands for "
                f"{step} in a row, and these overlap",
                f"put them {step} apart",
                at=request.place,
            )
        return tuple(listed)
    count = (count or 1) * (times or 1)
    if count > MAX_IMAGES:
        raise PromptSyntax(
            f"the file asks for more than {MAX_IMAGES:,} images", "lower count or batch_size", at=request.place
        )
    first = draw_seed() if seed is None else seed
    last = first + count * step - 1
    if last > MAX_SEED:
        if seed is not None:
            raise PromptSyntax(
                f"the seeds go past {MAX_SEED}",
                f"the last seed is --seed + --count - 1 and may be at most {MAX_SEED}",
                at=request.place,
            )
        first -= last - MAX_SEED
    return range(first, first + count * step, step)


def _without_the_files(request: Request, options: dict[str, Any]) -> dict[str, Any]:
    """What a line says of seeds replaces all that its file says of them; but a count goes with the file's seed."""
    keep = set(request.own)
    if "seeds" not in request.own and "seeds" not in options:
        keep |= {"seed", "count", "batch_size"}
    for key in _SEEDS:
        if key not in keep:
            options.pop(key, None)
    return options
