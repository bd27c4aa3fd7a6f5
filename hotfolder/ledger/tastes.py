"""The writing side of taste: how much was said since, and forgetting."""

from __future__ import annotations

import json
from collections import Counter

from hotfolder.core.formula import renamed
from hotfolder.core.tastes import is_of_taste
from hotfolder.ledger.database import Database
from hotfolder.ledger.rows import range_of


class Tastes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def said_since(self, verdict: int, look: int) -> tuple[Counter[str], int, int]:
        """How much a person has said since then, by inbox; and the last verdict and look that are counted."""
        last = self._database.run("last_said").rows[0]
        rows = self._database.run("said_since", verdict=verdict).rows
        rows += self._database.run("looked_since", look=look).rows
        sources = (str(row["source_file"] or "").split("/") for row in rows)
        counts = Counter(parts[1] for parts in sources if len(parts) > 2)
        return counts, int(last["verdict"]), int(last["look"])

    def forget(self, inbox: str, prior: str) -> int:
        """The looks at an inbox's results, and every score by what was learnt from them. How many looks.

        Where the gate looked at such a score alone, it looks at the one by the `prior`.
        """
        between = range_of(inbox)
        with self._database.transaction():
            found = [row["scorer"] for row in self._database.run("scorers_like_taste").rows]
            scorers = json.dumps([scorer for scorer in found if is_of_taste(scorer)])
            self._database.run("prior_is_the_gates", prior=prior, scorers=scorers, **between)
            self._database.run("forget_scores_of_taste", scorers=scorers, **between)
            self._database.run("forget_verdicts_by_taste", **between)
            return self._database.run("forget_looks_of_inbox", **between).changed

    def judge_otherwise(self, before: str, now: str) -> int:
        """What is to be judged by one scorer is judged by another, also in formulas. How many jobs.

        Also what is in work, and may be put back, and what has failed, and may be tried again.
        """
        changed = 0
        with self._database.transaction():
            for row in self._database.run("open_scorers").rows:
                if before in (text := row["model"]):
                    other = renamed(text, {before: now}).text
                    changed += self._database.run("jobs_by_other_scorer", before=text, now=other).changed
        return changed

    def judge_as(self, before: str, now: str) -> int:
        """The same of one whole formula."""
        return self._database.run("jobs_by_other_scorer", before=before, now=now).changed

    def judge_inbox_as(self, inbox: str, before: str, now: str) -> int:
        """What waits of an inbox, and was to be judged by one formula, is judged by another. How many jobs."""
        return self._database.run("inbox_by_other_scorer", before=before, now=now, **range_of(inbox)).changed
