"""The reading side of taste: what a person said of the results of an inbox, and what is stored of these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hotfolder.ledger.reader import Reader
from hotfolder.ledger.rows import range_of


class LabelReader(Reader):
    """Read-only. An inbox is named by its folder's name below inbox/."""

    def inboxes_judged(self) -> dict[str, int]:
        """How much was said of the results of each inbox."""
        return {row["inbox"]: row["labels"] for row in self._all("inboxes_judged") if row["inbox"]}

    def last_said(self) -> tuple[int, int]:
        """How far what a person says has come: the last verdict, the last look."""
        row = self._all("last_said")[0]
        return int(row["verdict"]), int(row["look"])

    def said(self, inbox: str, since: float = 0.0) -> list[dict[str, Any]]:
        """image_id, sha256, prompt, source_file, verdict, how, score, gate_keep, path_before, created_at."""
        return self._all("said_of_inbox", since=since, **range_of(inbox))

    def looked_at(self, inbox: str, since: float = 0.0) -> list[dict[str, Any]]:
        """The same of looks, with their weight, and without what says how."""
        return self._all("looked_at_of_inbox", since=since, **range_of(inbox))

    def lay_between(self, first: str, last: str, before: float) -> list[dict[str, Any]]:
        """image_id, sha256, prompt, source_file, verdict, score, gate_keep of what lies from one path to another.

        In the folder of the first one; of what the gate put there before, and no person has said anything of.
        """
        name = first.rfind("/") + 2
        return self._all("lay_between", first=first, last=last, before=before, name=name)

    def encoder(self, inbox: str, name: str) -> str | None:
        """What the newest image's embedding by the encoder of this name is called."""
        row = self._first("encoder_of_inbox", name=name, **range_of(inbox))
        return str(row["encoder"]) if row else None

    def version(self, inbox: str, prior: str) -> str | None:
        """Which version of a scorer has judged the newest image that it has judged."""
        row = self._first("version_of_prior", prior=prior, **range_of(inbox))
        return str(row["version"]) if row else None

    def library(
        self, inbox: str, encoder: str, prior: str, version: str | None, most: int
    ) -> list[dict[str, Any]]:
        """image_id, sha256, vector (float16) and prior (may be None) of the newest images.

        `version`: of the scorer, as `version` gives it; None: any.
        """
        asked = {"encoder": encoder, "prior": prior, "version": version, "most": most}
        return self._all("library_of_inbox", **asked, **range_of(inbox))

    def embedded_among(
        self, image_ids: Sequence[int], encoder: str, prior: str, version: str | None = None
    ) -> list[dict[str, Any]]:
        """The same of these images."""
        asked = {"encoder": encoder, "prior": prior, "version": version}
        return self._all("embedded_among", ids=json.dumps(list(image_ids)), **asked)

    def close_calls(self, inbox: str, keep: float, reach: float, most: int) -> list[dict[str, Any]]:
        """id, sha256, prompt and score of drawn images whose score is near a threshold, the nearest first."""
        near = {"keep": keep, "lowest": keep - reach, "highest": keep + reach, "most": most}
        return self._all("close_calls", **near, **range_of(inbox))

    def newest_of_contents(self, contents: Sequence[str]) -> list[dict[str, Any]]:
        """image_id, sha256, path, prompt and source_file of the newest image of each of these sha256."""
        return self._all("newest_of_contents", ids=json.dumps(list(contents)))
