"""The commands of `hotfolder workers`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

workers = typer.Typer(
    help="Show the devices at work: what each does and holds, its pace, its memory, and what it waits for.",
    invoke_without_command=True, rich_markup_mode=None,
)  # fmt: skip
Device = Annotated[str, typer.Argument(help="As it is listed: cuda:1, cpu-2.")]


@workers.callback()
def show(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    if context.invoked_subcommand is not None:
        context.obj = root or context.obj
        return
    from hotfolder.cli.workers import show_workers

    show_workers(root or context.obj, as_json=as_json, watch=watch)


@workers.command("drain")
def drain(context: typer.Context, device: Device, as_json: Json = False, root: Root = None) -> None:
    """Give a device nothing more; what is in work is finished, then its memory is free. Lasts until resume."""
    from hotfolder.cli.workers import run_drain

    run_drain(root or context.obj, device, as_json=as_json)


@workers.command("resume")
def resume(context: typer.Context, device: Device, as_json: Json = False, root: Root = None) -> None:
    """Give a device work again that was drained, or set aside because it failed."""
    from hotfolder.cli.workers import run_undrain

    run_undrain(root or context.obj, device, as_json=as_json)


@workers.command("test")
def test(
    context: typer.Context,
    devices: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that all of them may take.")] = 300.0,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Have each device judge one image, in a worker of its own beside the daemon's: whether it really works."""
    from hotfolder.cli.workers import run_test

    raise typer.Exit(run_test(root or context.obj, devices or [], timeout, as_json=as_json))


@workers.command("up")
def up(
    join: Annotated[
        str | None, typer.Option(help="HOST:6379 of the first machine; without it, be the first.")
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=0, help="Cores to offer; 0: no work on the CPU.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Cards to offer; else all.")] = None,
    spill: Annotated[
        Path | None,
        typer.Option(help="Folder for what does not fit into memory; for the first machine.", readable=False),
    ] = None,
    own_address: Annotated[
        str | None, typer.Option("--own-address", help="By which others reach this machine, where it has several.")
    ] = None,
    ports: Annotated[
        str | None,
        typer.Option(help="Where it listens, as 20000-20199, for a firewall; else wherever a port is free."),
    ] = None,
) -> None:
    """Make this machine a node of a cluster (executor.kind = "ray"), in the foreground, until Ctrl-C."""
    from hotfolder.cli.workers_up import run_up

    run_up(join, cpus, gpus, spill, own_address, ports)
