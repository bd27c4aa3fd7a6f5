"""`hotfolder generate`."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hotfolder.cli.display import Display
from hotfolder.cli.files import existing_file
from hotfolder.cli.run import make_executor, resolve_upscaler
from hotfolder.cli.score import scored_by
from hotfolder.cli.text import told_at_the_end, write_notes
from hotfolder.config import loading
from hotfolder.config.root import find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.core import naming
from hotfolder.core.batch_key import batch_key
from hotfolder.core.best_of import best
from hotfolder.core.gate import ALL_PRECISE
from hotfolder.core.prompts import images_of, of_prompt, options_of, place_of, said
from hotfolder.errors import ExitCode, HotfolderError, PromptSyntax, UsageError
from hotfolder.executors.base import Executor
from hotfolder.files.moves import fsync_folder
from hotfolder.folders.layout import Layout
from hotfolder.oneshot.placing import clear, make_folder, make_staging, place, uninterrupted
from hotfolder.oneshot.work import work
from hotfolder.printable import printable
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.prompt_files.reading import asks_for_images, draw_seed, read_specs, says_itself
from hotfolder.prompt_files.wildcards import WildcardLists
from hotfolder.types import ErrorInfo, Item, Kind, Outcome, Place, Progress, PromptSpec, Staged

#: Characters of a prompt that its images are named by.
_NAME = 40


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; None leaves it to the prompt file, the configuration or the model."""

    prompt: Mapping[str, Any] = field(default_factory=dict)  # keys of prompt files
    out: Path = Path()
    format: str | None = None
    exact: bool = False  # what is not said is the model's, not the configuration's
    adapt: bool = False  # the nearest of what a picture asks for and cannot have


@dataclass(slots=True)
class _Image:
    """One image on its way: what is known of it so far."""

    spec: PromptSpec
    name: str  # without an ending
    model: str
    params: Mapping[str, Any]
    number: int | None  # of the set of which the best are kept
    staged: Staged | None = None
    error: ErrorInfo | None = None
    score: float | None = None
    is_compared: bool = False  # with the others of its set
    target: Path | None = None
    enlarged: dict[str, Any] | None = None


def run_generate(given: Path | None, prompts: Sequence[str], options: Options, *, as_json: bool) -> ExitCode:
    root = find_root_if_any(given)
    settings = _configured(loading.load(root), options)
    try:
        wanted = _wanted(root, settings, prompts, options)
    except PromptSyntax as error:
        raise UsageError(error.message, error.fix) from None
    settings = scored_by(settings, None) if any(image.number is not None for image in wanted) else settings
    if any(image.spec.upscale for image in wanted):
        resolve_upscaler(settings)
    make_folder(options.out)
    staging = make_staging([options.out])
    executor = make_executor(settings, root)
    try:
        with told_at_the_end(lambda: _tell(wanted, as_json=as_json), as_json=as_json), Display() as display:
            _work(executor, settings, wanted, options.out, staging[options.out], display)
    finally:
        executor.close()
        clear(staging)
    return ExitCode.PARTLY_FAILED if any(image.error for image in wanted) else ExitCode.DONE


def _configured(settings: Settings, options: Options) -> Settings:
    if options.adapt:
        settings = settings.asked("generate", {"adapt": True})
    if options.format is None:
        return settings
    if options.format not in ("png", "webp", "jpeg"):
        raise UsageError(f"no format is called '{options.format}'", "use png, webp or jpeg")
    return settings.model_copy(
        update={"generate": settings.generate.model_copy(update={"format": options.format})}
    )


def _wanted(root: Path | None, settings: Settings, prompts: Sequence[str], options: Options) -> list[_Image]:
    """Every image, with its name. Raises PromptSyntax, UsageError, ModelMissing or NotAnImage: no work is begun."""
    given = dict(options.prompt)
    for key in ("model", "init_image"):
        given[key] = existing_file(given[key]) or given[key] if given.get(key) else None
    if given.get("lora"):
        given["lora"] = [_with_path(text) for text in given["lora"]]
    asked = options_of(given)
    lists = WildcardLists(Layout(root)) if root else lambda _: None
    catalogue = settings.catalogue()
    check = PromptCheck(None, catalogue, settings)
    numbers = itertools.count()
    images: list[_Image] = []
    for text in prompts:
        is_file, specs = _specs_of(text, asked, lists, adapt=settings.generate.adapt)
        placed = ((place_of(Path(text).name, spec) if is_file else Place("the prompt"), spec) for spec in specs)
        exact = ((where, replace(spec, exact=spec.exact or options.exact)) for where, spec in placed)
        for spec in check.all_completed(exact):
            if spec.until_kept is not None:
                raise UsageError(
                    "--until-kept needs the gate of a root, which is not asked here", "drop it into inbox/generate"
                )
            number = next(numbers) if spec.best_of else None
            for one in images_of(spec):
                params = said(one)
                stem = text if is_file else f"{_short(spec.prompt)}.txt"
                name = naming.generated_stem(stem, params["seed"], spec.line)
                images.append(_Image(spec, name, spec.model or settings.generate.model, params, number))
    for model in {image.model for image in images}:
        catalogue.resolve(model, Kind.GENERATE)
    return images


def _specs_of(text: str, asked: Mapping[str, Any], lists: Any, *, adapt: bool) -> tuple[bool, list[PromptSpec]]:
    """The prompts that an argument means: itself, or those of the prompt file, or the generated image, it names.

    Raises UsageError for the name of a file that is not there: nobody wants a picture of 'prompts/typo.txt'.
    """
    path = Path(existing_file(text) or "")
    named = Path(text)
    if path == Path() and asks_for_images(named) and (named.parent != Path() or not re.search(r"\s", text)):
        raise UsageError(f"{text} is not there", "check the name; as a prompt, write it with other words")
    if not asks_for_images(path):
        return False, of_prompt(text, asked, draw_seed, lists)
    if asked and says_itself(path):
        raise UsageError(f"{text} says itself how it was made", "leave the options out")
    return True, read_specs(path, lists, asked, adapt=adapt)


def _with_path(text: str) -> str:
    """'file.safetensors:0.5' with the file's whole path."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        name, weight = text, ""
    return (existing_file(name) or name) + colon + weight


def _short(prompt: str) -> str:
    """A prompt as the beginning of a file's name."""
    return re.sub(r"[^\w-]+", "-", prompt)[:_NAME].strip("-") or "image"


def _work(
    executor: Executor, settings: Settings, wanted: Sequence[_Image], out: Path, staging: Path, display: Display
) -> None:
    def tell(progress: Progress) -> None:
        ended = sum(1 for image in wanted if image.staged or image.error)
        steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
        part = progress.step / progress.steps if progress.steps and ended < len(wanted) else 0.0
        display.update(progress.stage + steps, ended + part, len(wanted))

    try:
        _draw(executor, wanted, out, staging, tell)
        _choose(executor, settings, wanted, out, tell)
    except BaseException:
        # What was drawn and not compared is not lost.
        for image in wanted:
            if image.staged is not None and image.target is None and not image.is_compared:
                with contextlib.suppress(HotfolderError):  # of which the first is the one to be told
                    _place(image, out)
        raise
    _enlarge(executor, settings, wanted, out, staging, tell)


def _draw(executor: Executor, wanted: Sequence[_Image], out: Path, staging: Path, tell: Tell) -> None:
    # One model after the other, and of each those of one shape together.
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i].model, str(batch_key(wanted[i].params)), i))
    for model, indices in itertools.groupby(order, key=lambda i: wanted[i].model):
        items = [Item(i, 1, None, str(staging / str(i)), wanted[i].params) for i in indices]
        for outcome in work(executor, Kind.GENERATE, model, items, tell):
            image = wanted[outcome.job_id]
            image.staged, image.error = outcome.staged, outcome.error
            if image.number is None and outcome.staged is not None:
                _place(image, out)


def _choose(executor: Executor, settings: Settings, wanted: Sequence[_Image], out: Path, tell: Tell) -> None:
    """Judges what is among the best of several, and keeps the best of it."""
    drawn = {i: image for i, image in enumerate(wanted) if image.number is not None and image.staged is not None}
    items = [
        Item(i, 1, image.staged.path, "", {"named": True, "prompt": image.spec.prompt}, ALL_PRECISE)
        for i, image in drawn.items()
        if image.staged
    ]
    if not items:
        return
    for outcome in work(executor, Kind.SCORE, settings.default_model(Kind.SCORE), items, tell):
        image = drawn[outcome.job_id]
        image.error = outcome.error
        image.score = outcome.score.value if outcome.score else None
    sets: dict[int, list[tuple[int, float]]] = {}
    for i, image in drawn.items():
        if image.number is not None and image.score is not None:
            sets.setdefault(image.number, []).append((i, image.score))
    for image in drawn.values():
        image.is_compared = True
    for scores in sets.values():
        for i in sorted(best(scores, drawn[scores[0][0]].spec.keep or 1)):
            _place(drawn[i], out)


def _enlarge(
    executor: Executor, settings: Settings, wanted: Sequence[_Image], out: Path, staging: Path, tell: Tell
) -> None:
    """What was kept, where its prompt asks for it."""
    kept = {i: image for i, image in enumerate(wanted) if image.target is not None and image.spec.upscale}
    items = []
    for i, image in kept.items():
        scale = {} if image.spec.upscale is True else {"scale": image.spec.upscale}
        items.append(Item(i, 1, str(image.target), str(staging / f"{i}-enlarged"), {**scale, "named": True}))
    for outcome in work(executor, Kind.UPSCALE, settings.upscale.model, items, tell) if items else ():
        with uninterrupted():
            kept[outcome.job_id].enlarged = _enlarged(kept[outcome.job_id], outcome, out)


def _enlarged(image: _Image, outcome: Outcome, out: Path) -> dict[str, Any]:
    assert image.target is not None
    if outcome.staged is None:
        image.error = outcome.error
        return {"error": outcome.error.told() if outcome.error else {}}
    staged = Path(outcome.staged.path)
    name = naming.upscaled_stem(image.target.name, outcome.staged.settings["scale"]) + staged.suffix
    target = place(staged, out, name)
    fsync_folder(out)
    return {
        "image": str(target), "sha256": outcome.staged.sha256, "width": outcome.staged.width,
        "height": outcome.staged.height,
    }  # fmt: skip


def _place(image: _Image, out: Path) -> None:
    assert image.staged is not None
    staged = Path(image.staged.path)
    with uninterrupted():
        image.target = place(staged, out, image.name + staged.suffix)
    fsync_folder(out)


def _tell(wanted: Sequence[_Image], *, as_json: bool) -> None:
    rows = list(_rows(wanted))
    errors = sum(1 for image in wanted if image.error)
    count = sum(1 for image in wanted if image.target)
    if as_json:
        document = {"schema_version": 1, "images": rows, "count": count, "errors": errors}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    for row in rows:
        if "error" in row:
            sys.stdout.write(
                f"seed {row['seed']}  –  {row['error']['kind']}: {printable(row['error']['message'])}\n"
            )
            continue
        score = f"  {row['score']:.2f}" if row["score"] is not None else ""
        where = printable(row["image"]) if row["image"] else "not among the best"
        sys.stdout.write(f"{where}  seed {row['seed']}  {row['width']} × {row['height']}{score}\n")
        write_notes(row["settings"])
        if row["upscaled"] and "image" in row["upscaled"]:
            larger = row["upscaled"]
            sys.stdout.write(f"{printable(larger['image'])}  {larger['width']} × {larger['height']}\n")
    sys.stdout.write(f"{count} image{'' if count == 1 else 's'}{f', {errors} failed' if errors else ''}\n")


def _rows(wanted: Sequence[_Image]) -> Iterator[dict[str, Any]]:
    for image in wanted:
        asked = {"prompt": image.spec.prompt, "seed": image.params["seed"], "model": image.model}
        if image.staged is None or (image.target is None and not image.is_compared):
            if image.error is not None:  # else it was not reached
                yield {**asked, "error": image.error.told()}
            continue
        row = {
            "image": str(image.target) if image.target else None, **asked, "sha256": image.staged.sha256,
            "width": image.staged.width, "height": image.staged.height, "score": image.score,
            "settings": dict(image.staged.settings), "upscaled": image.enlarged,
        }  # fmt: skip
        yield {**row, "error": image.error.told()} if image.error else row
