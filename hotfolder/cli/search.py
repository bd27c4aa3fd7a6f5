"""`hotfolder search`: images by what is written of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli import table, times
from hotfolder.cli.top import check_one_of
from hotfolder.config.root import find_root
from hotfolder.core.words import Words
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.search import SearchReader, Written


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the images that are found are wanted, and how many."""

    most: int
    verdict: str | None = None
    since: str | None = None


def run_search(given: Path | None, words: Sequence[str], wanted: Wanted, *, as_json: bool) -> None:
    """Raises UsageError where there is nothing to search by, or a filter is not understood."""
    looked_for = Words.of(" ".join(words))
    if not looked_for.wanted:
        raise UsageError("nothing to search for", 'hotfolder search "red car"')
    check_one_of(("--verdict", wanted.verdict, ("keep", "reject")))
    since = times.since(wanted.since)
    with SearchReader(Layout(find_root(given)).database) as reader:
        found = list(_by_words(reader, looked_for, wanted, since))
    if as_json:
        table.write_json({"by": "words", "words": list(looked_for.wanted), "found": found})
    elif not found:
        sys.stdout.write("no prompt, file name or note says that\n")
    else:
        columns = ("score", "verdict", "image", "seed", "prompt")
        lines = [(r["score"], r["verdict"] or r["role"], r["path"], r["seed"], r["prompt"]) for r in found]
        table.show(columns, lines, right=("score", "seed"))


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
