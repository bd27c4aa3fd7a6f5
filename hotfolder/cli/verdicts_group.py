"""The commands that correct what was decided: reroute, keep, reject, duplicates, undo, restore; and the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

verdicts = typer.Typer(rich_markup_mode=None)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")]
Results = Annotated[
    list[Path], typer.Argument(help="Images of keep/, reject/, upscaled/ or archive/.", readable=False)
]


@verdicts.command()
def reroute(
    context: typer.Context,
    keep: Annotated[float | None, typer.Option(min=1, max=10, help="The threshold.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last one back.")] = False,
    also_mine: Annotated[bool, typer.Option("--also-mine", help="Also what you kept or rejected.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Sort what was judged by another threshold, from stored scores: nothing is judged again."""
    from hotfolder.cli.queue import run_reroute

    run_reroute(root or context.obj, keep, undo=undo, also_mine=also_mine, dry_run=dry_run, as_json=as_json)


@verdicts.command()
def keep(
    context: typer.Context, files: Results, dry_run: DryRun = False, as_json: Json = False, root: Root = None
) -> None:
    """Keep images, whatever the gate said: they go to keep/, enlarged ones to upscaled/."""
    from hotfolder.cli.verdicts import run_verdict
    from hotfolder.types import Verdict

    raise typer.Exit(run_verdict(root or context.obj, Verdict.KEEP, files, dry_run=dry_run, as_json=as_json))


@verdicts.command()
def reject(
    context: typer.Context, files: Results, dry_run: DryRun = False, as_json: Json = False, root: Root = None
) -> None:
    """Reject images, whatever the gate said: they go to reject/."""
    from hotfolder.cli.verdicts import run_verdict
    from hotfolder.types import Verdict

    raise typer.Exit(run_verdict(root or context.obj, Verdict.REJECT, files, dry_run=dry_run, as_json=as_json))


@verdicts.command()
def duplicates(
    context: typer.Context,
    move_to: Annotated[
        str | None, typer.Option(help="reject: all but the best of each go there; hotfolder undo takes it back.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="How alike copies are, 0.6 to 1; 0.9 without it.")
    ] = None,
    rejected_too: Annotated[bool, typer.Option("--rejected", help="Look through reject/, too.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Find copies of one picture among what is kept: re-encoded, of another size, cropped a little."""
    from hotfolder.cli.duplicates import run_duplicates

    raise typer.Exit(
        run_duplicates(root or context.obj, threshold, move_to, rejected_too=rejected_too, as_json=as_json)
    )


@verdicts.command()
def undo(
    context: typer.Context,
    count: Annotated[int, typer.Argument(min=1, help="So many actions.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be undone.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Take back what you did last: keep, reject, stars, reroute, retry or restore, each as a whole."""
    from hotfolder.cli.verdicts import run_undo

    raise typer.Exit(run_undo(root or context.obj, count, dry_run=dry_run, as_json=as_json))


@verdicts.command()
def restore(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Files that were dropped.", readable=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every image that was dropped.")] = False,
    to: Annotated[Path | None, typer.Option(help="Copy them below this folder instead.", readable=False)] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Put what was dropped back where it was dropped, as it was: it is not worked again."""
    from hotfolder.cli.restore import run_restore

    raise typer.Exit(
        run_restore(root or context.obj, files or [], to, everything=everything, dry_run=dry_run, as_json=as_json)
    )


@verdicts.command()
def gallery(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Where it listens; else gallery.host: this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="0: a free one; else gallery.port.")] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Only who has the token in this file is let in; made if it is not there.", readable=False
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be changed.")] = False,
    with_daemon: Annotated[bool, typer.Option("--with-daemon", help="Run the daemon, too.")] = False,
    opened: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    root: Root = None,
) -> None:
    """Look at what came out, keep and reject by keys, and steer: a page in the browser."""
    from hotfolder.cli.gallery import run_gallery

    code = run_gallery(
        root or context.obj, host, port, token_file, read_only=read_only, with_daemon=with_daemon, opened=opened
    )
    raise typer.Exit(code)
