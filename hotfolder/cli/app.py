"""The commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from hotfolder import __version__
from hotfolder.cli.bench_group import bench
from hotfolder.cli.config_group import config
from hotfolder.cli.database_group import database
from hotfolder.cli.line_group import line
from hotfolder.cli.models_group import models
from hotfolder.cli.options import Root
from hotfolder.cli.pictures_group import pictures
from hotfolder.cli.questions_group import questions
from hotfolder.cli.queue_group import queue
from hotfolder.cli.service_group import service
from hotfolder.cli.taste_group import taste
from hotfolder.cli.verdicts_group import verdicts
from hotfolder.cli.workers_group import workers

app = typer.Typer(
    name="hotfolder",
    help="Drop prompts and pictures into folders; get the good ones, scored, sorted and enlarged.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hotfolder {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    root: Root = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = root


# Without a name: their commands stand at the top, in this order.
for group in (line, questions, queue, verdicts, database, pictures):
    app.add_typer(group)
app.add_typer(models, name="models")
app.add_typer(taste, name="taste")
app.add_typer(service, name="service")
app.add_typer(workers, name="workers")
app.add_typer(bench, name="bench")
app.add_typer(config, name="config")
