"""The commands of `hotfolder models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root

models = typer.Typer(help="Fetch, check and share models.", no_args_is_help=True, rich_markup_mode=None)
Names = Annotated[list[str] | None, typer.Argument(help="Models; else those that the configuration names.")]


@models.command("list")
def models_list(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Show every model that can be named: whether it is here, its size and licence, whether it fits."""
    from hotfolder.cli.models import run_list

    run_list(root or context.obj, as_json=as_json)


@models.command("pull")
def models_pull(context: typer.Context, names: Names = None, as_json: Json = False, root: Root = None) -> None:
    """Fetch models and what they need; goes on where it was cut off, and checks what comes."""
    from hotfolder.cli.models import run_pull

    raise typer.Exit(run_pull(root or context.obj, names or [], as_json=as_json))


@models.command("verify")
def models_verify(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Models; else all that are here.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Read the files of models and compare them with what they should be."""
    from hotfolder.cli.models import run_verify

    raise typer.Exit(run_verify(root or context.obj, names or [], as_json=as_json))


@models.command("rm")
def models_rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Models that were fetched or linked.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Remove models; of linked ones only the link."""
    from hotfolder.cli.models import run_rm

    run_rm(root or context.obj, names, as_json=as_json)


@models.command("link")
def models_link(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            help="The models folder of ComfyUI, A1111 or any other program; or one file.", readable=False
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="upscale, lora, embedding or generate: what it is for, where no folder's name tells."),
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Use models where another program has them; nothing is copied."""
    from hotfolder.cli.models import run_link

    raise typer.Exit(run_link(root or context.obj, folder, kind, as_json=as_json))
