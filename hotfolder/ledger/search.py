"""The reading side of searching: what is written of images, and what encoders made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.ledger.reader import Reader


@dataclass(frozen=True, slots=True)
class Written:
    """The texts that there are of an image; None where there is none."""

    image_id: int
    path: str
    prompt: str | None
    source_file: str | None
    notes: tuple[str, ...]


class SearchReader(Reader):
    """Read-only questions about all images that are there. Each looks through them once."""

    def written_of(
        self, patterns: Sequence[str], verdict: str | None = None, since: float | None = None
    ) -> Iterator[Written]:
        """Images of whose texts some are like each of these patterns (of LIKE, with backslashes), the best first."""
        values = {"patterns": json.dumps(list(patterns)), "verdict": verdict, "since": since}
        for row in self._each("images_written_of", values):
            notes = json.loads(row["notes"]) if row["notes"] else []
            yield Written(row["id"], row["path"], row["prompt"], row["source_file"], tuple(map(str, notes)))

    def found(self, image_id: int) -> dict[str, Any]:
        """image_id, path, score, scorer, verdict, role, prompt, seed, model, created_at of an image that there is."""
        return self._all("found_image", id=image_id)[0]

    def encoders(self) -> dict[str, int]:
        """Of how many images each encoder's embeddings are stored."""
        return {row["encoder"]: row["images"] for row in self._all("encoders")}

    def embedded(
        self, encoder: str, verdict: str | None = None, since: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """id, path and vector (float16, little-endian) of each image that this encoder has seen, by id.

        `is_wanted`: whether it has this verdict, and was made since then.
        """
        return self._each("embedded", {"encoder": encoder, "verdict": verdict, "since": since})

    def embeddings_of(self, sha256: str) -> dict[str, bytes]:
        """What encoders made of a content."""
        return {row["encoder"]: row["vector"] for row in self._all("embeddings_of_content", sha256=sha256)}

    def parents(self) -> dict[int, int]:
        """Of each enlarged image, what it was enlarged from."""
        return {row["id"]: row["parent_id"] for row in self._all("enlarged")}

    def image_count_in(self, folders: Sequence[str]) -> int:
        """How many images lie in these top folders."""
        return int(self._all("image_count_in", folders=json.dumps(list(folders)))[0]["images"])
