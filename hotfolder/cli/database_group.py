"""The commands that hand the database to others: datasette, backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

database = typer.Typer(rich_markup_mode=None)


@database.command()
def datasette(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="The file; else datasette.json in the root.", readable=False)
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Write titles, descriptions and ready questions for Datasette, another program that shows the database."""
    from hotfolder.cli.datasette import run_datasette

    run_datasette(root or context.obj, file, as_json=as_json)


@database.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The copy to make; nothing is overwritten.", readable=False)],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Copy the database, also while a daemon writes it."""
    from hotfolder.cli.backup import run_backup

    run_backup(root or context.obj, file, as_json=as_json)
