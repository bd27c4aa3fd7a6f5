"""The commands that steer what waits, and the daemon: retry, pause, resume, reload, stop, cancel, first, withdraw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

queue = typer.Typer(rich_markup_mode=None)


@queue.command()
def retry(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files in failed/, or as they were dropped.", readable=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever has failed.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Try failed work again, from the beginning; the files go back where they were dropped."""
    from hotfolder.cli.retry import run_retry

    raise typer.Exit(run_retry(root or context.obj, files or [], everything=everything, as_json=as_json))


@queue.command()
def pause(
    context: typer.Context,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long: 90s, 30m, 2h, 1d; else until resume.")
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Begin nothing new; what is in work is finished, and files are still taken."""
    from hotfolder.cli.queue import run_pause

    run_pause(root or context.obj, for_, as_json=as_json)


@queue.command()
def resume(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Go on after a pause."""
    from hotfolder.cli.queue import run_resume

    run_resume(root or context.obj, as_json=as_json)


@queue.command()
def reload(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Have a running daemon read its settings anew, and say what changed; a mistake changes nothing."""
    from hotfolder.cli.daemon import run_reload

    run_reload(root or context.obj, as_json=as_json)


@queue.command()
def stop(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = 300.0,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Have the daemon end in order, also under systemd, and wait for that; what it finishes is said."""
    from hotfolder.cli.daemon import run_stop

    run_stop(root or context.obj, timeout=timeout, as_json=as_json)


@queue.command()
def cancel(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Dropped files, or results, that something still waits for.", readable=False),
    ] = None,
    line: Annotated[
        int | None,
        typer.Option(min=1, help="Only this line of a prompt file (in .toml and .json, the n-th prompt)."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is waited for.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Begin nothing more of what was dropped: it goes to archive/, and so does what was drawn and has no score yet."""
    from hotfolder.cli.queue import run_cancel

    run_cancel(root or context.obj, files or [], line=line, everything=everything, as_json=as_json)


@queue.command()
def first(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="Dropped files, or results, that something still waits for.", readable=False),
    ],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Move what waits for a file to the front of the line, with all that follows from it."""
    from hotfolder.cli.queue import run_first

    run_first(root or context.obj, files, as_json=as_json)


@queue.command()
def withdraw(
    context: typer.Context,
    commands: Annotated[
        list[str] | None, typer.Argument(help="By the ids that are listed; none: list them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever waits.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """List the commands that wait for a daemon, or take some of them back."""
    from hotfolder.cli.withdraw import run_withdraw

    raise typer.Exit(run_withdraw(root or context.obj, commands or [], everything=everything, as_json=as_json))
