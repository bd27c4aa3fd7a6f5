"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="The root to work on; else $HOTFOLDER_ROOT, the one around this folder, ~/hotfolder.",
        readable=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; all else goes to stderr.")]
Csv = Annotated[bool, typer.Option("--csv", help="A table for spreadsheets on stdout.")]
Since = Annotated[
    str | None, typer.Option(help="Only what was made since then: 12h, 7d, 2w, or a day such as 2026-11-01.")
]
Scorer = Annotated[
    str | None,
    typer.Option(help="A scorer, the path of a head, or a formula; else what the configuration says."),
]
