"""The commands of `hotfolder config`."""

from __future__ import annotations

from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

config = typer.Typer(help="Look at the settings of a root.", no_args_is_help=True, rich_markup_mode=None)


@config.command("check")
def config_check(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Say what a start or a reload would refuse, and which settings of sub-folders are wrong; nothing is changed."""
    from hotfolder.cli.config import run_check

    raise typer.Exit(run_check(root or context.obj, as_json=as_json))


@config.command("show")
def config_show(
    context: typer.Context,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not as delivered.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show every setting, and where its value comes from: the file and its line, the environment, or the default."""
    from hotfolder.cli.config import run_show

    run_show(root or context.obj, changed=changed, as_json=as_json)
