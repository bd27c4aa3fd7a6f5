"""`hotfolder search`: images by what is written of them, by what they show, or by another image."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotfolder.cli import table, times
from hotfolder.cli.top import check_one_of
from hotfolder.config.root import find_root
from hotfolder.core.words import Words
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.search import SearchReader, Written

if TYPE_CHECKING:
    from hotfolder.cli.alike import Answer

#: How words may be looked for: in what is written of images, or in what they show.
BY = ("words", "picture")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the images that are found are wanted, and how many."""

    most: int
    verdict: str | None = None
    since: str | None = None


def run_search(
    given: Path | None, words: Sequence[str], like: str | None, by: str, wanted: Wanted, *, as_json: bool
) -> None:
    """Raises UsageError where there is nothing to search by, or an option is not known; ModelMissing, CannotWork."""
    check_one_of(("--by", by, BY), ("--verdict", wanted.verdict, ("keep", "reject")))
    looked_for = Words.of(" ".join(words))
    if bool(looked_for.wanted) == (like is not None):
        raise UsageError("search by words, or --like an image", 'hotfolder search "red car"')
    since = times.since(wanted.since)
    layout = Layout(find_root(given))
    told: dict[str, Any]
    with SearchReader(layout.database) as reader:
        if like is None and by == "words":
            told = {"by": by, "words": list(looked_for.wanted), "encoder": None}
            found = list(_by_words(reader, looked_for, wanted, since))
        else:
            from hotfolder.cli import alike

            if like is not None:
                told, answer = (
                    {"by": "like", "like": like},
                    alike.like(reader, layout, like, wanted.verdict, since),
                )
            else:
                said = " ".join(words)
                told = {"by": by, "words": [said]}
                answer = alike.by_picture(reader, layout, said, wanted.verdict, since)
            told["encoder"] = answer.encoder
            found = list(_nearest(reader, answer, wanted.most))
    if as_json:
        table.write_json({**told, "found": found})
    elif not found:
        sys.stdout.write(
            "no prompt, file name or note says that\n" if told["by"] == "words" else "nothing found\n"
        )
    elif told["encoder"] is None:
        columns = ("score", "verdict", "image", "seed", "prompt")
        lines = [(r["score"], r["verdict"] or r["role"], r["path"], r["seed"], r["prompt"]) for r in found]
        table.show(columns, lines, right=("score", "seed"))
    else:
        sys.stderr.write(f"by embeddings of {told['encoder'].partition('/')[0]}\n")
        columns = ("alike", "score", "verdict", "image", "prompt")
        lines = [(_alike(r), r["score"], r["verdict"] or r["role"], r["path"], r["prompt"]) for r in found]
        table.show(columns, lines, right=("alike", "score"))


def _alike(row: Mapping[str, Any]) -> str:
    return f"{'copy ' if row['is_copy'] else ''}{row['alike']:.2f}"


def _nearest(reader: SearchReader, answer: Answer, most: int) -> Iterator[dict[str, Any]]:
    """Of an image and what was enlarged from it only the nearest; of the one that was asked for, none."""
    originals = set() if answer.asked is None else {reader.original_of(answer.asked)}
    left = most
    for each in answer.images:
        original = reader.original_of(each.image_id)
        if original not in originals:
            originals.add(original)
            yield {**reader.found(each.image_id), "alike": round(each.cosine, 4), "is_copy": each.is_copy}
            left -= 1
            if not left:
                return


def _by_words(reader: SearchReader, words: Words, wanted: Wanted, since: float | None) -> Iterator[dict[str, Any]]:
    """The best first. Of an image and what was enlarged from it only the best."""
    originals: set[int] = set()
    for image in reader.written_of(words.patterns(), wanted.verdict, since):
        texts = _texts(image)
        said = words.said(texts.values())
        original = reader.original_of(image.image_id) if said else 0
        if said and original not in originals:
            originals.add(original)
            found_in = [name for name, says in zip(texts, said, strict=True) if says]
            yield {**reader.found(image.image_id), "found_in": found_in}
            if len(originals) == wanted.most:
                return


def _texts(image: Written) -> dict[str, str]:
    """By their names; of paths what a person named: not `keep`, nor the inbox."""
    return {
        "prompt": image.prompt or "",
        "path": image.path.partition("/")[2],
        "source_file": "/".join((image.source_file or "").split("/")[2:]),
        "notes": "\n".join(image.notes),
    }
