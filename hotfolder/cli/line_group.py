"""The commands that set the line up, run it, and say how it does: init, demo, run, status, doctor, why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

line = typer.Typer(rich_markup_mode=None)


@line.command()
def init(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="The new root; else as for --root.", readable=False)
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="tiny, cpu, z-image-turbo, flux2-klein, sdxl-turbo or flux-schnell; else tiny, and what fits is "
            "said. A root that is there becomes it, but for what you changed."
        ),
    ] = None,
    umask: Annotated[
        str | None,
        typer.Option(help="Of all that is made, as output.umask: 027 lets your group look, 002 drop, too."),
    ] = None,
    root: Root = None,
) -> None:
    """Make the folders and a commented hotfolder.toml."""
    from hotfolder.cli.setup import run_init

    run_init(folder or root or context.obj, preset, umask)


@line.command()
def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="Where; else a new temporary folder.", readable=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the whole line on the built-in models: offline, on the CPU, in a minute or two."""
    from hotfolder.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, as_json=as_json))


@line.command()
def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Drain the inboxes and exit.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="On a terminal, too: the whole log, not a line for each image.")
    ] = False,
    root: Root = None,
) -> None:
    """Watch the inboxes and work what is dropped there."""
    from hotfolder.cli.run import run_daemon

    raise typer.Exit(run_daemon(root or context.obj, once=once, verbose=verbose))


@line.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="One line for monitoring; exit codes 0 ok, 1 warning, 2 critical, 3 unknown."
        ),
    ] = False,
    max_failures: Annotated[
        int, typer.Option(min=0, help="With --check: so many failed jobs in an hour are no warning.")
    ] = 0,
    prometheus: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write metrics for Prometheus' textfile collector; -: to stdout."),
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show what is waiting, running, done and failed."""
    from hotfolder.cli.status import check_status, export_status, one_of, show_status

    one_of(watch=watch, check=check, prometheus=prometheus is not None)
    if check:
        raise typer.Exit(check_status(root or context.obj, most_failures=max_failures, as_json=as_json))
    if prometheus is not None:
        export_status(root or context.obj, prometheus)
    else:
        show_status(root or context.obj, as_json=as_json, watch=watch)


@line.command()
def doctor(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Look at everything the line stands on, and say how to mend what is wrong."""
    from hotfolder.cli.doctor.command import run_doctor

    raise typer.Exit(run_doctor(root or context.obj, as_json=as_json))


@line.command()
def why(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A file that was dropped, or an image that came of it.", readable=False)
    ],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Say why a file still waits, or what became of it."""
    from hotfolder.cli.why import show_why

    show_why(root or context.obj, file, as_json=as_json)
