"""The commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder import __version__

app = typer.Typer(
    name="hotfolder",
    help="Drop prompts and pictures into folders; get the good ones, scored, sorted and enlarged.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Root = Annotated[
    Path | None,
    typer.Option("--root", help="The root to work on; else $HOTFOLDER_ROOT, this folder, ~/hotfolder."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; all else goes to stderr.")]


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


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="The new root; else as for --root.")] = None,
    preset: Annotated[str, typer.Option(help="tiny, cpu, sdxl-turbo or flux-schnell.")] = "tiny",
    root: Root = None,
) -> None:
    """Make the folders and a commented hotfolder.toml."""
    from hotfolder.cli.setup import run_init

    run_init(folder or root or context.obj, preset)


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="Where; else a new temporary folder.")] = None,
    as_json: Json = False,
) -> None:
    """Run the whole line on the built-in models: offline, on the CPU, in a minute or two."""
    from hotfolder.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, as_json=as_json))


@app.command()
def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Drain the inboxes and exit.")] = False,
    root: Root = None,
) -> None:
    """Watch the inboxes and work what is dropped there."""
    from hotfolder.cli.run import run_daemon

    raise typer.Exit(run_daemon(root or context.obj, once=once))


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show what is waiting, running, done and failed."""
    from hotfolder.cli.status import show_status

    show_status(root or context.obj, as_json=as_json, watch=watch)


@app.command()
def doctor(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Look at everything the line stands on, and say how to mend what is wrong."""
    from hotfolder.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(root or context.obj, as_json=as_json))


@app.command()
def why(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that was dropped, or an image that came of it.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Say why a file still waits, or what became of it."""
    from hotfolder.cli.why import show_why

    show_why(root or context.obj, file, as_json=as_json)


@app.command()
def top(
    context: typer.Context,
    most: Annotated[int, typer.Argument(min=1, help="So many.")] = 10,
    by: Annotated[str, typer.Option(help="score, prompt or day.")] = "score",
    verdict: Annotated[str | None, typer.Option(help="Only what the gate said keep, or reject, of.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show the best images, prompts or days."""
    from hotfolder.cli.top import show_top

    show_top(root or context.obj, most, by, verdict, as_json=as_json)


@app.command()
def stats(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Show how scores are spread, and how much is kept by model, prompt and day."""
    from hotfolder.cli.top import show_stats

    show_stats(root or context.obj, as_json=as_json)


@app.command()
def show(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="An image of keep/, reject/, upscaled/ or archive/.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show where an image comes from, what came of it, and how to make it again."""
    from hotfolder.cli.show import run_show

    run_show(root or context.obj, image, as_json=as_json)


Csv = Annotated[bool, typer.Option("--csv", help="A table for spreadsheets on stdout.")]


@app.command()
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


@app.command()
def export(context: typer.Context, as_json: Json = False, as_csv: Csv = False, root: Root = None) -> None:
    """Write every image with its score to stdout: as JSON, or as CSV."""
    from hotfolder.cli.ask import run_export

    run_export(root or context.obj, as_json=as_json, as_csv=as_csv)


@app.command()
def retry(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Files in failed/, or as they were dropped.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever has failed.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Try failed work again, from the beginning; the files go back where they were dropped."""
    from hotfolder.cli.retry import run_retry

    raise typer.Exit(run_retry(root or context.obj, files or [], everything=everything, as_json=as_json))


@app.command()
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


@app.command()
def resume(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Go on after a pause."""
    from hotfolder.cli.queue import run_resume

    run_resume(root or context.obj, as_json=as_json)


@app.command()
def cancel(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Dropped files that are still waited for.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is waited for.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Leave what was dropped: it goes to archive/. What was made of it already is kept."""
    from hotfolder.cli.queue import run_cancel

    run_cancel(root or context.obj, files or [], everything=everything, as_json=as_json)


@app.command()
def reroute(
    context: typer.Context,
    keep: Annotated[float | None, typer.Option(min=1, max=10, help="The threshold.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last one back.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Sort what was judged by another threshold, from stored scores: nothing is judged again."""
    from hotfolder.cli.queue import run_reroute

    run_reroute(root or context.obj, keep, undo=undo, dry_run=dry_run, as_json=as_json)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The copy to make; nothing is overwritten.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Copy the database, also while a daemon writes it."""
    from hotfolder.cli.backup import run_backup

    run_backup(root or context.obj, file, as_json=as_json)


Scorer = Annotated[
    str | None,
    typer.Option(help="A scorer, the path of a head, or a formula; else what the configuration says."),
]


@app.command()
def score(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Image files, folders, or patterns in quotation marks.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also sub-folders.")] = False,
    scorer: Scorer = None,
    as_json: Json = False,
    as_csv: Csv = False,
    root: Root = None,
) -> None:
    """Judge images where they lie: nothing is moved or recorded."""
    from hotfolder.cli.score import run_score

    raise typer.Exit(
        run_score(root or context.obj, paths, recursive=recursive, scorer=scorer, as_json=as_json, as_csv=as_csv)
    )


@app.command()
def rescore(
    context: typer.Context,
    scorer: Scorer = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Judge every image of the database by another scorer, from stored embeddings where there are some."""
    from hotfolder.cli.rescore import run_rescore

    raise typer.Exit(run_rescore(root or context.obj, scorer, as_json=as_json))


@app.command()
def upscale(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Image files, folders, or patterns in quotation marks.")],
    scale: Annotated[float | None, typer.Option(help="How many times larger in each direction.")] = None,
    long_edge: Annotated[int | None, typer.Option(help="Pixels that the longer side gets.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Millions of pixels in all.")] = None,
    model: Annotated[str | None, typer.Option(help="A name from the registry, or the path of a file.")] = None,
    denoise: Annotated[float | None, typer.Option(help="0 to 1, for models that come as a pair.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; else beside each image.")] = None,
    picture_format: Annotated[str | None, typer.Option("--format", help="png, webp, jpeg, tiff or avif.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles, in input pixels; 0: by the memory.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also sub-folders.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Enlarge images where they lie; what is done already is passed over."""
    from hotfolder.cli.upscale import Options, run_upscale

    options = Options(scale, long_edge, megapixels, model, denoise, picture_format, tile, out, recursive)
    raise typer.Exit(run_upscale(root or context.obj, paths, options, as_json=as_json))


models = typer.Typer(help="Fetch, check and share models.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models, name="models")
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
    folder: Annotated[Path, typer.Argument(help="The models folder of ComfyUI, A1111 or any other program.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Use models where another program has them; nothing is copied."""
    from hotfolder.cli.models import run_link

    raise typer.Exit(run_link(root or context.obj, folder, as_json=as_json))


service = typer.Typer(help="Run as a service of systemd.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(service, name="service")
System = Annotated[bool, typer.Option("--system", help="Of the machine, not of your session; needs root.")]
User = Annotated[str | None, typer.Option(help="With --system: whose; else yours.")]
Name = Annotated[str, typer.Option(help="Of the service, where there are several roots.")]


@service.command("install")
def service_install(
    context: typer.Context,
    system: System = False,
    user: User = None,
    name: Name = "hotfolder",
    start: Annotated[bool, typer.Option(help="Start it now.")] = True,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Write the unit, have systemd check it, and start it."""
    from hotfolder.cli.service import run_install

    raise typer.Exit(
        run_install(root or context.obj, system=system, user=user, name=name, start=start, as_json=as_json)
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


bench = typer.Typer(
    help="Measure this machine: our way against the plain way, in one run.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip
app.add_typer(bench, name="bench")


@bench.command("score")
def bench_score(
    context: typer.Context,
    images: Annotated[int, typer.Option(min=3, help="Pictures to judge.")] = 64,
    size: Annotated[int, typer.Option(min=16, max=8192, help="Their sides, in pixels.")] = 1024,
    picture_format: Annotated[str, typer.Option("--format", help="png, jpg or webp.")] = "png",
    naive: Annotated[int, typer.Option(min=3, help="How many of them go through the naive loop, too.")] = 12,
    scorer: Scorer = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="ViT-L/14 with random weights: needs no model files.")
    ] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Images a second: decoding, the network, the whole way, and the naive loop."""
    from hotfolder.cli.bench import run_bench_score

    run_bench_score(
        root or context.obj, images=images, size=size, format_=picture_format, naive=naive, scorer=scorer,
        random_weights=random_weights, as_json=as_json,
    )  # fmt: skip


@bench.command("upscale")
def bench_upscale(
    context: typer.Context,
    images: Annotated[int, typer.Option(min=1, help="Pictures to enlarge.")] = 8,
    size: Annotated[int, typer.Option(min=16, max=8192, help="Their sides, in pixels.")] = 512,
    naive: Annotated[int, typer.Option(min=0, help="How many of them go through the plain loop, too.")] = 8,
    model: Annotated[str | None, typer.Option(help="A name from the registry, or the path of a file.")] = None,
    random_rrdb: Annotated[
        bool, typer.Option("--random-rrdb", help="RRDBNet-23 with random weights: needs no model file.")
    ] = False,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles; 0: by the memory.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Megapixels a second: the network, the whole way, and the plain loop; and the memory they take."""
    from hotfolder.cli.bench import run_bench_upscale

    run_bench_upscale(
        root or context.obj, images=images, size=size, naive=naive, model=model, random_rrdb=random_rrdb,
        tile=tile, as_json=as_json,
    )  # fmt: skip
