"""The commands that look things up in the database: top, search, stats, sheet, show, query, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Csv, Json, Root, Since

questions = typer.Typer(rich_markup_mode=None)


@questions.command()
def top(
    context: typer.Context,
    most: Annotated[int, typer.Argument(min=1, help="So many.")] = 10,
    by: Annotated[str, typer.Option(help="score, prompt or day.")] = "score",
    verdict: Annotated[str | None, typer.Option(help="Only what is kept, or rejected.")] = None,
    since: Since = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show the best images, prompts or days; an image and what was enlarged from it count once."""
    from hotfolder.cli.top import show_top

    show_top(root or context.obj, most, by, verdict, since, as_json=as_json)


@questions.command()
def search(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(help="All of them; 'cat' finds 'cats'. \"red car\" in quotation marks is one."),
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Images like this one: a result, its image_id, or any image file.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="words: of prompts, file names and notes; picture: of what is seen, by CLIP.")
    ] = "words",
    most: Annotated[int, typer.Option("--limit", min=1, help="So many.")] = 20,
    verdict: Annotated[str | None, typer.Option(help="Only what is kept, or rejected.")] = None,
    since: Since = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Find images by words of their prompts, file names and notes, by what they show, or by another image."""
    from hotfolder.cli.search import Wanted, run_search

    wanted = Wanted(most, verdict, since)
    run_search(root or context.obj, words or [], like, by, wanted, as_json=as_json)


@questions.command()
def stats(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Show how scores are spread, and how much is kept by model, prompt and day."""
    from hotfolder.cli.top import show_stats

    show_stats(root or context.obj, as_json=as_json)


@questions.command()
def sheet(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="What came of this dropped file, or the tries of this image; else the best.", readable=False
        ),
    ] = None,
    most: Annotated[int | None, typer.Option("--top", min=1, max=2000, help="So many, 40 without it.")] = None,
    since: Since = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The PNG to draw; else contact-sheet.png in the root. Replaces an older sheet.", readable=False
        ),
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Show it.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Draw the best results as one picture, with score, verdict and what enlarging gained."""
    from hotfolder.cli.sheet import run_sheet

    run_sheet(root or context.obj, file, most, since, out, opened=opened, as_json=as_json)


@questions.command()
def show(
    context: typer.Context,
    image: Annotated[
        Path, typer.Argument(help="An image of keep/, reject/, upscaled/ or archive/.", readable=False)
    ],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show where an image comes from, what came of it, and how to make it again."""
    from hotfolder.cli.show import run_show

    run_show(root or context.obj, image, as_json=as_json)


@questions.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="One SELECT, in quotation marks.")],
    as_json: Json = False,
    as_csv: Csv = False,
    root: Root = None,
) -> None:
    """Ask the database in SQL; nothing can be changed."""
    from hotfolder.cli.ask import run_query

    run_query(root or context.obj, sql, as_json=as_json, as_csv=as_csv)


@questions.command()
def export(context: typer.Context, as_json: Json = False, as_csv: Csv = False, root: Root = None) -> None:
    """Write every image with its score to stdout: as JSON, or as CSV."""
    from hotfolder.cli.ask import run_export

    run_export(root or context.obj, as_json=as_json, as_csv=as_csv)
