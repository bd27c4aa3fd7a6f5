"""`hotfolder search --like` and `--by picture`: images by what encoders made of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli.display import Display
from hotfolder.cli.files import not_a_file
from hotfolder.cli.finding import digest_of, find_image
from hotfolder.cli.run import make_executor
from hotfolder.cli.score import scored_by
from hotfolder.config import loading
from hotfolder.config.settings import Settings
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.search import SearchReader
from hotfolder.models.registry import ENCODER
from hotfolder.oneshot.work import work
from hotfolder.types import Item, Kind, Outcome, Progress

#: The loaders of encoders that put words where the pictures lie that show what they say.
_KNOWING_WORDS = ("clip", "clip_h")


@dataclass(frozen=True, slots=True)
class Alike:
    """One image and how near it is; `is_copy`: of the one that was asked for."""

    image_id: int
    cosine: float
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`encoder` is whose embeddings were compared."""

    encoder: str
    images: Iterator[Alike]  # the nearest first
    asked: int | None = None  # the image that others are to be like, if it is one


def by_picture(
    reader: SearchReader, layout: Layout, words: str, verdict: str | None, since: float | None
) -> Answer:
    """Images by whether they show what the words say. Raises UsageError, ModelMissing, CannotWork."""
    settings = loading.load(layout.root)
    encoder = _seeing(reader, settings, knowing_words=True)
    if encoder is None:
        raise UsageError(
            "nothing is stored of what the images show: no scorer has looked at them with CLIP",
            "hotfolder rescore --scorer laion-v2; or leave out --by, to search prompts, names and notes",
        )
    item = Item(1, 1, None, "", {"words": words})
    made = _made(layout, settings, encoder, item)
    if encoder not in made:
        raise UsageError(
            f"what is stored was seen as {encoder}, and the settings or weights of that model are others now",
            "have the images looked at anew: hotfolder rescore",
        )
    return Answer(encoder, _nearest(list(reader.embedded(encoder, verdict, since)), made[encoder]))


def like(reader: SearchReader, layout: Layout, image: str, verdict: str | None, since: float | None) -> Answer:
    """Images that are like one: a result by its path, name or number, or any file. Copies of it come first.

    Raises UsageError, ModelMissing, CannotWork.
    """
    from hotfolder.similarity import copies
    from hotfolder.similarity import layout as layouts

    settings = loading.load(layout.root)
    encoder = _seeing(reader, settings) or layouts.ENCODER
    row = _result(reader, layout, image)
    made = reader.embeddings_of(row["sha256"]) if row else {}
    if encoder not in made or layouts.ENCODER not in made:
        file = Path(layout.root, row["path"]) if row else Path(image)
        made = {**_of_file(reader, layout, settings, encoder, file), **made}
    if encoder not in made:
        encoder = layouts.ENCODER
    if encoder not in made:
        raise UsageError("nothing is known yet of how that image looks", "have it looked at: hotfolder rescore")
    same = list(reader.embedded(layouts.ENCODER, verdict, since))
    likeness: dict[int, float] = {}
    if same and layouts.ENCODER in made:
        collection = copies.Collection(layouts.stacked([each["vector"] for each in same], layouts.SIZE))
        found = collection.alike(layouts.stacked([made[layouts.ENCODER]], layouts.SIZE)[0])
        likeness = {
            each["id"]: cosine for each, cosine in zip(same, found.tolist(), strict=True) if each["is_wanted"]
        }
    by_copy = sorted(
        (Alike(each, cosine, True) for each, cosine in likeness.items() if cosine >= copies.COPIES), key=_nearness
    )
    if encoder == layouts.ENCODER:
        others = sorted((Alike(each, cosine) for each, cosine in likeness.items()), key=_nearness)
    else:
        others = list(_nearest(list(reader.embedded(encoder, verdict, since)), made[encoder]))
    known = {each.image_id for each in by_copy}
    return Answer(
        encoder,
        iter([*by_copy, *(each for each in others if each.image_id not in known)]),
        row["id"] if row else None,
    )


def _nearest(rows: list[dict[str, Any]], vector: bytes) -> Iterator[Alike]:
    from hotfolder.similarity.layout import stacked
    from hotfolder.similarity.ranking import cosines

    size = len(vector) // 2
    rows = [row for row in rows if row["is_wanted"] and len(row["vector"]) == len(vector)]
    found = cosines(stacked([row["vector"] for row in rows], size), stacked([vector], size)[0]).tolist()
    yield from sorted((Alike(row["id"], cosine) for row, cosine in zip(rows, found, strict=True)), key=_nearness)


def _nearness(each: Alike) -> tuple[float, int]:
    return -each.cosine, each.image_id


def _seeing(reader: SearchReader, settings: Settings, *, knowing_words: bool = False) -> str | None:
    """The encoder of those that see what pictures show that has seen the most of them; None for fewer than half."""
    stored = reader.encoders()
    catalogue = settings.catalogue()
    seeing = [
        each
        for each in stored
        if (entry := catalogue.entry(each.partition("/")[0]))
        and entry.kind == ENCODER
        and (not knowing_words or entry.read_by in _KNOWING_WORDS)
    ]
    best = max(seeing, key=lambda each: stored[each], default=None)
    return best if best is not None and 2 * stored[best] >= max(stored.values()) else None


def _result(reader: SearchReader, layout: Layout, image: str) -> Mapping[str, Any] | None:
    """The row of the result that is meant; None for another file. Raises UsageError where there is neither."""
    if image.isascii() and image.isdigit() and not Path(image).exists():
        row = reader.image_row(int(image)) if len(image) < 19 else None
        if row is None:
            raise UsageError(f"there is no image {image}", "name an image file, or the image_id of a result")
        return row
    try:
        return find_image(reader, layout, Path(image)).row
    except UsageError:
        if Path(image).is_file():
            return None
        raise


def _of_file(
    reader: SearchReader, layout: Layout, settings: Settings, encoder: str, file: Path
) -> dict[str, bytes]:
    """What encoders make of a file, and have made of its content. Raises UsageError where it cannot be looked at."""
    error = not_a_file(file)
    if error is not None:
        raise UsageError(f"{file} cannot be looked at: {error.message}", error.fix)
    known = reader.embeddings_of(digest_of(file))
    # The prompt is for a scorer that judges by one: its score is not asked for.
    params = {"named": True, "layout": True, "prompt": "a picture"}
    made = _made(layout, settings, encoder, Item(1, 1, str(file.absolute()), "", params))
    return {**known, **made}


def _made(layout: Layout, settings: Settings, encoder: str, item: Item) -> dict[str, bytes]:
    """What comes of an item, by a scorer that reads this encoder: through the worker, as every look at a file."""
    name = encoder.partition("/")[0]
    settings = scored_by(settings, _scorer_reading(settings, name))
    executor = make_executor(settings, layout.root)
    found: list[Outcome] = []
    with Display() as display:

        def tell(progress: Progress) -> None:
            display.update(progress.stage, 0, 1)

        try:
            found += work(executor, Kind.SCORE, settings.default_model(Kind.SCORE), [item], tell)
        finally:
            executor.close()
    (outcome,) = found
    if outcome.error is not None:
        raise UsageError(outcome.error.message, outcome.error.fix)
    return {each.encoder: base64.b64decode(each.vector) for each in outcome.embeddings}


def _scorer_reading(settings: Settings, encoder: str) -> str:
    """A scorer that reads this encoder: the configured one, if it does; any, where none does."""
    catalogue = settings.catalogue()
    configured = [name for kind, name in settings.models_needed() if kind is Kind.SCORE]
    others = [entry.name for entry in catalogue.entries() if entry.kind == "score"]
    for name in (*configured, *others):
        entry = catalogue.entry(name)
        if entry is not None and entry.encoder == encoder:
            return name
    return configured[0]
