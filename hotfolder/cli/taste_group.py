"""The commands of `hotfolder taste`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

taste = typer.Typer(
    help="What is learnt from your verdicts, how sure it is, and whether the gate looks at it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Inbox = Annotated[
    str | None, typer.Argument(help="An inbox by its name, such as generate; else the only one you judged.")
]
Every = Annotated[str | None, typer.Argument(help="An inbox by its name; else every one you judged.")]


@taste.command("status")
def taste_status(
    context: typer.Context,
    inbox: Every = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Draw scores by verdict into this PNG; replaces an older one.", readable=False),
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show what is known, how sure it is, how many more verdicts are wanted, and scores by verdict."""
    from hotfolder.cli.taste import run_status

    run_status(root or context.obj, inbox, png, as_json=as_json)


@taste.command("train")
def taste_train(context: typer.Context, inbox: Every = None, as_json: Json = False, root: Root = None) -> None:
    """Learn from all verdicts and looks now; the daemon does so by itself. Nothing is used before you say so."""
    from hotfolder.cli.taste import run_train

    run_train(root or context.obj, inbox, as_json=as_json)


@taste.command("use")
def taste_use(
    context: typer.Context,
    inbox: Inbox = None,
    head: Annotated[str | None, typer.Option(help="One by its name; else the one that is offered.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Have the gate look at what was learnt, from the next image on."""
    from hotfolder.cli.taste import run_use

    run_use(root or context.obj, inbox, head, as_json=as_json)


@taste.command("off")
def taste_off(context: typer.Context, inbox: Inbox = None, as_json: Json = False, root: Root = None) -> None:
    """Have the gate look at the score alone again; what was learnt stays."""
    from hotfolder.cli.taste import run_off

    run_off(root or context.obj, inbox, as_json=as_json)


@taste.command("forget")
def taste_forget(
    context: typer.Context,
    inbox: Inbox = None,
    yes: Annotated[bool, typer.Option("--yes", help="Without being asked.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Delete labels, looks, pairs, heads and their scores; files stay where they are. It cannot be undone."""
    from hotfolder.cli.taste import run_forget

    run_forget(root or context.obj, inbox, yes=yes, as_json=as_json)


@taste.command("export")
def taste_export(context: typer.Context, inbox: Every = None, as_json: Json = False, root: Root = None) -> None:
    """Write the labels to stdout as CSV, or as JSON."""
    from hotfolder.cli.taste import run_export

    run_export(root or context.obj, inbox, as_json=as_json)


@taste.command("import")
def taste_import(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(help="CSV as export writes it: sha256 and verdict, or path and verdict.", readable=False),
    ],
    inbox: Annotated[str | None, typer.Option(help="For this inbox, whatever the file says.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Take labels from a CSV file, for images that this root knows; nothing is moved."""
    from hotfolder.cli.taste import run_import

    run_import(root or context.obj, file, inbox, as_json=as_json)
