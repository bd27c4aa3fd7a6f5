"""`hotfolder upscale`."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli import times
from hotfolder.cli.display import Display
from hotfolder.cli.files import existing_file, find_images, not_a_file
from hotfolder.cli.run import make_executor, resolve_upscaler
from hotfolder.cli.text import noted, told_at_the_end, write_notes
from hotfolder.cli.upscale_results import chosen, enlarge_results, results_among
from hotfolder.config import loading
from hotfolder.config.root import find_root, find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.core import naming, paper
from hotfolder.errors import BadInput, ExitCode, UsageError
from hotfolder.files.moves import fsync_folder
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.models.registry import ModelSpec
from hotfolder.oneshot.placing import clear, make_folder, make_staging, place, uninterrupted
from hotfolder.oneshot.work import work
from hotfolder.printable import printable
from hotfolder.types import ErrorInfo, Item, Kind, Outcome, Progress

#: Of a print, unless another number is asked for: what printers and their shops take.
_DPI = 300.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; None leaves it to the configuration."""

    scale: float | None = None
    long_edge: int | None = None
    megapixels: float | None = None
    paper: str | None = None  # a sheet of paper, as `--print` names it
    dpi: float | None = None
    model: str | None = None
    denoise: float | None = None
    format: str | None = None
    tile: int | None = None
    out: Path | None = None
    recursive: bool = False
    top: int | None = None  # of the results of the root, so many
    since: str | None = None  # and only those since then
    priority: int | None = None  # of results: above 0, before what waits with a lower one

    @property
    def is_export(self) -> bool:
        """Whether the result is for somewhere else, or made as the line makes none: here and now, and not recorded."""
        asked = (self.out, self.paper, self.denoise, self.tile)
        return any(each is not None for each in asked)

    @property
    def size(self) -> dict[str, Any]:
        """The one way in which a size is asked for, if any: as a worker is told it."""
        asked = {"scale": self.scale, "long_edge": self.long_edge, "megapixels": self.megapixels}
        size: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
        if self.paper is not None:
            dpi = _DPI if self.dpi is None else self.dpi
            size |= {"paper": paper.pixels(_sheet(self.paper), dpi), "dpi": dpi}
        return size

    def check(self) -> None:
        """Raises UsageError for what does not go together, or is no size."""
        numbers = (self.scale, self.long_edge, self.megapixels)
        if sum(each is not None for each in (*numbers, self.paper)) > 1:
            raise UsageError("--scale, --long-edge, --megapixels and --print do not go together", "choose one")
        if not all(0 < value < math.inf for value in numbers if value is not None):
            raise UsageError("a size must be more than nothing, and a number", "for example --scale 2")
        if self.dpi is not None and self.paper is None:
            raise UsageError("--dpi is of a print", "say how large that is, for example --print A3 --dpi 300")
        if self.paper is not None:
            _sheet(self.paper)
        if self.priority is not None and self.is_export:
            raise UsageError(
                "--priority is of results that the line enlarges, and this is done here and now", "leave it out"
            )


def _sheet(text: str) -> tuple[float, float]:
    """Raises UsageError."""
    try:
        return paper.sheet(text)
    except ValueError as error:
        raise UsageError(f"--print {error}", f"known are {paper.KNOWN}") from None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One picture to be enlarged: `mark` says from which content and how, and stands in the result."""

    source: Path
    folder: Path
    mark: str


def run_upscale(given: Path | None, paths: Sequence[str], options: Options, *, as_json: bool) -> ExitCode:
    """Raises UsageError, ModelMissing, ConfigError."""
    options.check()
    of_root = options.top is not None or options.since is not None
    if of_root == bool(paths):
        raise UsageError("either name images, or say --top or --since", "hotfolder upscale --top 20 --since 7d")
    root = find_root(given) if of_root else find_root_if_any(given)
    settings = configured(loading.load(root), options)
    name = settings.upscale.model
    spec = resolve_upscaler(settings)
    if of_root and root is not None:
        files = tuple(chosen(Layout(root), options.top, times.since(options.since)))
    else:
        files = _named(paths, options, settings)
    rows: dict[int, dict[str, Any]] = {}

    def tell() -> None:
        _tell(root, [rows[i] for i in sorted(rows)], name, as_json=as_json)

    with told_at_the_end(tell, as_json=as_json):
        if root is not None and not options.is_export:
            results = results_among(Layout(root), files)
            model = name if options.model is not None else None
            how = {"format": options.format, "model": model, "priority": options.priority}
            if options.priority is not None and len(results) < len(files):
                other = next(file for index, file in enumerate(files) if index not in results)
                raise UsageError(f"--priority is of results, and {other} is none", "leave it out")
            rows |= enlarge_results(Layout(root), settings, results, files, options.size, how)
        rest = {index: file for index, file in enumerate(files) if index not in rows}
        _work(root, settings, spec, rest, options, rows)
    return ExitCode.PARTLY_FAILED if any("error" in row for row in rows.values()) else ExitCode.DONE


def _named(paths: Sequence[str], options: Options, settings: Settings) -> tuple[Path, ...]:
    found = find_images(
        paths, recursive=options.recursive, ignore=settings.watch.ignore, is_own_result=lambda p: bool(_mark_of(p))
    )
    if found.passed_over:
        sys.stderr.write(f"{found.passed_over} files are no images by their names: passed over\n")
    return found.files


def configured(settings: Settings, options: Options) -> Settings:
    """The settings with what the command line asks for. Raises UsageError."""
    changes = {
        key: value
        for key in ("model", "denoise", "format", "tile")
        if (value := getattr(options, key)) is not None
    }
    if "model" in changes and (path := existing_file(changes["model"])):
        changes["model"] = path
    return settings.asked("upscale", changes)


def _work(
    root: Path | None,
    settings: Settings,
    spec: ModelSpec,
    files: Mapping[int, Path],
    options: Options,
    rows: dict[int, dict[str, Any]],
) -> None:
    """Notes in `rows` what became of each file as soon as that is known: Ctrl-C may come at any time."""
    wanted: dict[int, _Wanted] = {}
    how = _fingerprint(settings, spec, options)
    if options.out is not None:
        make_folder(options.out)
    for index, file in files.items():
        error = not_a_file(file) or _into_an_inbox(root, file, options)
        if error is not None:
            rows[index] = _failed(file, error)
            continue
        try:
            mark = hashlib.sha256(f"{_sha256(file)} {how}".encode()).hexdigest()[:32]
        except OSError as problem:
            unreadable = BadInput(f"it cannot be read: {problem.strerror}", "give this user permission to read it")
            rows[index] = _failed(file, unreadable.info())
            continue
        folder = options.out or file.parent
        done = _done_before(folder, file.stem, settings.upscale.format, mark)
        if done is not None:
            rows[index] = {"image": str(file), "output": str(done), "skipped": True}
        else:
            wanted[index] = _Wanted(file, folder, mark)
    if wanted:
        _enlarge(root, settings, wanted, options, len(files), rows)


def _enlarge(
    root: Path | None,
    settings: Settings,
    wanted: Mapping[int, _Wanted],
    options: Options,
    total: int,
    rows: dict[int, dict[str, Any]],
) -> None:
    ended = total - len(wanted)
    staging = make_staging(each.folder for each in wanted.values())
    executor = make_executor(settings, root)
    items = [
        Item(index, 1, str(w.source.absolute()), str(staging[w.folder].absolute() / str(index)),
             {**options.size, "mark": w.mark, "named": True})
        for index, w in wanted.items()
    ]  # fmt: skip
    with Display() as display:

        def tell(progress: Progress) -> None:
            stage = progress.stage + (f" tile {progress.step}/{progress.steps}" if progress.steps else "")
            display.update(stage, ended, total)

        try:
            for outcome in work(executor, Kind.UPSCALE, settings.upscale.model, items, tell):
                ended += 1
                with uninterrupted():
                    rows[outcome.job_id] = _row(wanted[outcome.job_id], outcome)
        finally:
            executor.close()
            clear(staging)


def _row(wanted: _Wanted, outcome: Outcome) -> dict[str, Any]:
    if outcome.error is not None or outcome.staged is None or outcome.source is None:
        return _failed(wanted.source, outcome.error)
    staged = Path(outcome.staged.path)
    scale = outcome.staged.settings["scale"]
    name = naming.upscaled_stem(wanted.source.name, scale) + staged.suffix
    target = place(staged, wanted.folder, name)
    fsync_folder(wanted.folder)
    return {
        "image": str(wanted.source), "output": str(target), "skipped": False, "width": outcome.staged.width,
        "height": outcome.staged.height, "scale": round(scale, 4), "sha256": outcome.staged.sha256, **noted(outcome),
    }  # fmt: skip


def _into_an_inbox(root: Path | None, file: Path, options: Options) -> ErrorInfo | None:
    """What is wrong with a result beside a file that waits to be worked: it would be taken for one more."""
    if root is None or options.out is not None or (Layout(root).root / INBOX) not in file.absolute().parents:
        return None
    return UsageError(
        f"{file} lies in an inbox, where its enlargement would be taken for a dropped file",
        "name another folder with --out",
    ).info()


def _failed(source: Path, error: ErrorInfo | None) -> dict[str, Any]:
    assert error is not None
    return {"image": str(source), "error": error.told()}


def _fingerprint(settings: Settings, spec: ModelSpec, options: Options) -> str:
    """Everything that shapes the result, but for the picture."""
    u = settings.upscale
    size = options.size or {"scale": u.scale}
    twin = spec.twin.verify() if spec.twin else None
    how = [spec.verify(), twin, u.denoise, size, u.format, u.animated, settings.score.background, _VERSION]
    return json.dumps(how, sort_keys=True)


#: Changed when the same picture comes out differently.
_VERSION = 3


def _done_before(folder: Path, stem: str, format_: str, mark: str) -> Path | None:
    """A result in this folder that says it was made of this content, in this way."""
    from hotfolder.imaging.encode import ENDINGS

    candidates = sorted(folder.glob(f"{_escaped(stem)}_*x*{ENDINGS[format_]}"))
    return next((path for path in candidates if _mark_of(path) == mark), None)


def _mark_of(path: Path) -> str | None:
    """The mark that a result of this command carries in its Software."""
    from PIL import Image

    from hotfolder.imaging.carried import software_of
    from hotfolder.imaging.decode import FORMATS  # it also lifts Pillow's limit, which our results exceed

    try:
        with Image.open(path, formats=FORMATS) as image:
            words = software_of(image).split()
    except (OSError, ValueError, SyntaxError):
        return None
    return words[2] if len(words) == 3 and words[0] == "hotfolder" else None


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _tell(root: Path | None, rows: Sequence[dict[str, Any]], model: str, *, as_json: bool) -> None:
    errors = sum(1 for row in rows if "error" in row)
    skipped = sum(1 for row in rows if row.get("skipped"))
    queued = sum(1 for row in rows if row.get("queued"))
    done = len(rows) - errors - skipped - queued
    if as_json:
        document = {
            "schema_version": 1, "root": str(root) if root else None, "model": model, "images": rows, "count": done,
            "queued": queued, "skipped": skipped, "errors": errors,
        }  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    for row in rows:
        name = printable(row["image"])
        if "error" in row:
            sys.stdout.write(f"{name}  –  {row['error']['kind']}: {printable(row['error']['message'])}\n")
        elif row["skipped"]:
            sys.stdout.write(f"{name}  done before: {printable(row['output'])}\n")
        elif row.get("queued"):
            sys.stdout.write(f"{name}  queued, for upscaled/\n")
        else:
            sys.stdout.write(f"{name}  {printable(row['output'])}  {row['width']} × {row['height']}\n")
        write_notes(row)
    line = f"{queued} queued, " if queued else ""
    sys.stdout.write(f"{line}{done} enlarged, {skipped} done before, {errors} failed\n")
