"""The commands of `hotfolder service`."""

from __future__ import annotations

from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

service = typer.Typer(help="Run as a service of systemd.", no_args_is_help=True, rich_markup_mode=None)
System = Annotated[bool, typer.Option("--system", help="Of the machine, not of your session; needs root.")]
User = Annotated[str | None, typer.Option(help="With --system: whose; else yours.")]
Name = Annotated[str, typer.Option(help="Of the service, where there are several roots.")]


@service.command("install")
def service_install(
    context: typer.Context,
    system: System = False,
    user: User = None,
    name: Name = "hotfolder",
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Of the gallery, beside the daemon's: NAME-gallery.")
    ] = False,
    start: Annotated[bool, typer.Option(help="Start it now.")] = True,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Write the unit, have systemd check it, and start it."""
    from hotfolder.cli.service import run_install

    raise typer.Exit(
        run_install(
            root or context.obj,
            system=system,
            user=user,
            name=name,
            start=start,
            as_json=as_json,
            gallery=gallery,
        )
    )


@service.command("uninstall")
def service_uninstall(
    system: System = False, user: User = None, name: Name = "hotfolder", as_json: Json = False
) -> None:
    """Stop the service and remove its unit; the root stays."""
    from hotfolder.cli.service import run_uninstall

    run_uninstall(system=system, user=user, name=name, as_json=as_json)


@service.command("status")
def service_status(
    system: System = False, user: User = None, name: Name = "hotfolder", as_json: Json = False
) -> None:
    """Show what systemd knows of it."""
    from hotfolder.cli.service import run_status

    raise typer.Exit(run_status(system=system, user=user, name=name, as_json=as_json))


@service.command("logs")
def service_logs(
    system: System = False,
    user: User = None,
    name: Name = "hotfolder",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last ones.")] = 50,
) -> None:
    """Show its log from the journal."""
    from hotfolder.cli.service import run_logs

    raise typer.Exit(run_logs(system=system, user=user, name=name, follow=follow, lines=lines))
