"""`hotfolder duplicates`: copies of one picture among the results, and which of them is the best."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import name_root
from hotfolder.cli.queue import ask_or_do, later
from hotfolder.cli.top import check_one_of
from hotfolder.config.root import find_root
from hotfolder.core.copies import Candidate, Group, groups
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import KEEP, REJECT, UPSCALED, Layout
from hotfolder.ledger.search import SearchReader
from hotfolder.printable import printable
from hotfolder.types import Judge, Verdict

_LOWEST, _HIGHEST = 0.6, 1.0


@dataclass(frozen=True, slots=True)
class _Picture:
    """An original with what was enlarged from it: the rows of those that are among the results looked at."""

    rows: tuple[Mapping[str, Any], ...]

    @property
    def is_mine(self) -> bool:
        return any(row["verdict"] == Verdict.KEEP and row["verdict_by"] == Judge.PERSON for row in self.rows)

    @property
    def best(self) -> Mapping[str, Any]:
        return max(self.rows, key=lambda row: (row["score"] or 0.0, -row["id"]))

    def candidate(self, image_id: int) -> Candidate:
        best, original = self.best, self.rows[0]
        return Candidate(
            image_id, self.is_mine, best["score"], best["scorer"], original["width"], original["height"]
        )


def run_duplicates(
    given: Path | None, threshold: float | None, move_to: str | None, *, rejected_too: bool, as_json: bool
) -> ExitCode:
    """Raises UsageError for a threshold or a folder that makes no sense, and where nothing is known of any picture."""
    check_one_of(("--move-to", move_to, (REJECT,)))
    if threshold is not None and not _LOWEST <= threshold <= _HIGHEST:
        raise UsageError(
            f"--threshold {threshold:g} is no likeness", f"from {_LOWEST} to {_HIGHEST}, 0.9 without it"
        )
    layout = Layout(find_root(given))
    folders = (KEEP, UPSCALED, REJECT) if rejected_too else (KEEP, UPSCALED)
    with SearchReader(layout.database) as reader:
        pictures, alike, unseen = _copies(reader, folders, threshold)
        found = groups((each.candidate(image_id) for image_id, each in pictures.items()), alike)
    told = [_told(group, pictures, move_to is not None) for group in found]
    moved: list[dict[str, Any]] | None = []
    if move_to is not None:
        images = _to_be_moved(found, pictures)
        name_root(layout.root)
        if images:
            command = {"do": "verdict", "verdict": Verdict.REJECT, "images": images}
            answer = ask_or_do(layout, command, moves=len(images))
            moved = answer["files"] if answer else None
    if as_json:
        table.write_json(
            {
                "root": str(layout.root), "groups": told, "unseen": unseen, "move_to": move_to,
                "waits": moved is None, "moved": moved or [],
            }
        )  # fmt: skip
    else:
        sys.stdout.writelines(_lines(told, unseen))
        if move_to is not None:
            sys.stdout.write(later(layout) if moved is None else _moved(moved))
    return ExitCode.PARTLY_FAILED if any("error" in each for each in moved or []) else ExitCode.DONE


def _copies(
    reader: SearchReader, folders: tuple[str, ...], threshold: float | None
) -> tuple[dict[int, _Picture], dict[tuple[int, int], float], int]:
    """Pictures that have copies, by the id of the original; which are alike; and how many results nobody looked at."""
    from hotfolder.similarity import copies, layout

    rows = [row for row in reader.embedded(layout.ENCODER) if row["path"].partition("/")[0] in folders]
    unseen = reader.image_count_in(folders) - len(rows)
    if not rows and unseen:
        raise UsageError(
            "nothing is known yet of how the images look", "have them looked at once: hotfolder rescore"
        )
    parents = reader.parents()
    collection = copies.Collection(layout.stacked([row["vector"] for row in rows], layout.SIZE))
    firsts, seconds, cosines = collection.copies(copies.COPIES if threshold is None else threshold)
    alike: dict[tuple[int, int], float] = {}
    for first, second, cosine in zip(firsts.tolist(), seconds.tolist(), cosines.tolist(), strict=True):
        one, other = (_original(rows[index]["id"], parents) for index in (first, second))
        if one != other:
            pair = min(one, other), max(one, other)
            alike[pair] = max(cosine, alike.get(pair, -1.0))
    members = {each: [each] for pair in alike for each in pair}
    for image_id in sorted(parents):
        original = _original(image_id, parents)
        if original in members:
            members[original].append(image_id)
    return {each: _Picture(tuple(_rows(reader, ids, folders))) for each, ids in members.items()}, alike, unseen


def _rows(reader: SearchReader, ids: list[int], folders: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    for image_id in ids:
        row = reader.image_row(image_id)
        if row is not None and row["gone_at"] is None and row["path"].partition("/")[0] in folders:
            yield row


def _original(image_id: int, parents: Mapping[int, int]) -> int:
    while image_id in parents:
        image_id = parents[image_id]
    return image_id


def _told(group: Group, pictures: Mapping[int, _Picture], is_moved: bool) -> dict[str, Any]:
    """A group as it is told."""
    copies = []
    for image_id, cosine in group.others.items():
        picture = pictures[image_id]
        told = {**_facts(picture), "alike": round(cosine, 3)}
        if is_moved and picture.is_mine:
            told["stays"] = "you kept it"
        copies.append(told)
    return {"best": {**_facts(pictures[group.best]), "why": group.why}, "copies": copies}


def _to_be_moved(found: Iterable[Group], pictures: Mapping[int, _Picture]) -> list[int]:
    """Ids of all copies but those that a person kept, and those that are rejected already."""
    copies = (pictures[each] for group in found for each in group.others)
    return [
        row["id"]
        for picture in copies
        if not picture.is_mine
        for row in picture.rows
        if not row["path"].startswith(f"{REJECT}/")
    ]


def _facts(picture: _Picture) -> dict[str, Any]:
    best, original = picture.best, picture.rows[0]
    return {
        "path": best["path"],
        "score": best["score"],
        "width": original["width"],
        "height": original["height"],
        "files": [row["path"] for row in picture.rows],
    }


def _lines(told: list[dict[str, Any]], unseen: int) -> Iterator[str]:
    for group in told:
        best = group["best"]
        yield f"{_line(best)}  the best: {best['why']}\n"
        for copy in group["copies"]:
            stays = f"  stays: {copy['stays']}" if "stays" in copy else ""
            yield f"  {_line(copy)}  alike {copy['alike']:.2f}{stays}\n"
    count = sum(len(group["copies"]) for group in told)
    yield f"{count} copies of {len(told)} images\n" if told else "no copies\n"
    if unseen:
        yield f"{unseen} images were not looked at yet: hotfolder rescore\n"


def _line(facts: Mapping[str, Any]) -> str:
    score = "–" if facts["score"] is None else f"{facts['score']:.2f}"
    more = len(facts["files"]) - 1
    also = f" and {more} more file{'' if more == 1 else 's'} of it" if more else ""
    return f"{printable(facts['path'])}{also}  {score}  {facts['width']}×{facts['height']}"


def _moved(moved: list[dict[str, Any]]) -> str:
    failed = [each for each in moved if "error" in each]
    lines = "".join(f"{printable(each['file'])}: {printable(each['error'])}\n" for each in failed)
    undo = "; take it back with: hotfolder undo" if len(failed) < len(moved) else ""
    return f"{lines}{len(moved) - len(failed)} files went to reject/{undo}\n"
