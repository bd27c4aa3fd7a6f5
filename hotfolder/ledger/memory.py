"""What the ledger remembers about a content, for workers: they look before they judge."""

from __future__ import annotations

import base64
import logging
import sqlite3
import threading
from pathlib import Path

from hotfolder.ledger.connection import open_reader
from hotfolder.ledger.queries import queries
from hotfolder.types import Embedding, Remembered, Score

log = logging.getLogger(__name__)


class Memory:
    """Read-only, and safe to ask from several threads. A database that does not answer is no memory, no error."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = open_reader(path)

    def recall(self, sha256: str) -> Remembered | None:
        """What is known about the content with this sha256."""
        sizes, scores, embeddings = (
            queries()[name] for name in ("size_of_content", "scores_of_content", "embeddings_of_content")
        )
        content = {"sha256": sha256}
        try:
            with self._lock:
                size = self._connection.execute(sizes, content).fetchone()
                if size is None:
                    return None
                found = self._connection.execute(scores, content).fetchall()
                kept = self._connection.execute(embeddings, content).fetchall()
        except sqlite3.Error as error:
            log.warning("the database does not answer, so it is judged anew: %s", error)
            return None
        return Remembered(
            size["width"],
            size["height"],
            tuple(Score(**row) for row in found),
            tuple(Embedding(row["encoder"], base64.b64encode(row["vector"]).decode()) for row in kept),
            size["prompt"],
        )
