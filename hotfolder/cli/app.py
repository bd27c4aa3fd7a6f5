"""The commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder import __version__
from hotfolder.cli.bench_group import bench
from hotfolder.cli.config_group import config
from hotfolder.cli.models_group import models
from hotfolder.cli.options import Csv, Json, Root, Since
from hotfolder.cli.pictures_group import pictures
from hotfolder.cli.service_group import service
from hotfolder.cli.taste_group import taste
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


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="The new root; else as for --root.")] = None,
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
    verbose: Annotated[
        bool, typer.Option("--verbose", help="On a terminal, too: the whole log, not a line for each image.")
    ] = False,
    root: Root = None,
) -> None:
    """Watch the inboxes and work what is dropped there."""
    from hotfolder.cli.run import run_daemon

    raise typer.Exit(run_daemon(root or context.obj, once=once, verbose=verbose))


@app.command()
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
    verdict: Annotated[str | None, typer.Option(help="Only what is kept, or rejected.")] = None,
    since: Since = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show the best images, prompts or days; an image and what was enlarged from it count once."""
    from hotfolder.cli.top import show_top

    show_top(root or context.obj, most, by, verdict, since, as_json=as_json)


@app.command()
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


@app.command()
def stats(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Show how scores are spread, and how much is kept by model, prompt and day."""
    from hotfolder.cli.top import show_stats

    show_stats(root or context.obj, as_json=as_json)


@app.command()
def sheet(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="What came of this dropped file, or the tries of this image; else the best."),
    ] = None,
    most: Annotated[int | None, typer.Option("--top", min=1, max=2000, help="So many, 40 without it.")] = None,
    since: Since = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The PNG to draw; else contact-sheet.png in the root. Replaces an older sheet."),
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Show it.")] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Draw the best results as one picture, with score, verdict and what enlarging gained."""
    from hotfolder.cli.sheet import run_sheet

    run_sheet(root or context.obj, file, most, since, out, opened=opened, as_json=as_json)


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
def reload(context: typer.Context, as_json: Json = False, root: Root = None) -> None:
    """Have a running daemon read its settings anew, and say what changed; a mistake changes nothing."""
    from hotfolder.cli.daemon import run_reload

    run_reload(root or context.obj, as_json=as_json)


@app.command()
def stop(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = 300.0,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Have the daemon end in order, also under systemd, and wait for that; what it finishes is said."""
    from hotfolder.cli.daemon import run_stop

    run_stop(root or context.obj, timeout=timeout, as_json=as_json)


@app.command()
def cancel(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Dropped files, or results, that something still waits for.")
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


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")]


@app.command()
def first(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(help="Dropped files, or results, that something still waits for.")
    ],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Move what waits for a file to the front of the line, with all that follows from it."""
    from hotfolder.cli.queue import run_first

    run_first(root or context.obj, files, as_json=as_json)


@app.command()
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


@app.command()
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


Results = Annotated[list[Path], typer.Argument(help="Images of keep/, reject/, upscaled/ or archive/.")]


@app.command()
def keep(
    context: typer.Context, files: Results, dry_run: DryRun = False, as_json: Json = False, root: Root = None
) -> None:
    """Keep images, whatever the gate said: they go to keep/, enlarged ones to upscaled/."""
    from hotfolder.cli.verdicts import run_verdict
    from hotfolder.types import Verdict

    raise typer.Exit(run_verdict(root or context.obj, Verdict.KEEP, files, dry_run=dry_run, as_json=as_json))


@app.command()
def reject(
    context: typer.Context, files: Results, dry_run: DryRun = False, as_json: Json = False, root: Root = None
) -> None:
    """Reject images, whatever the gate said: they go to reject/."""
    from hotfolder.cli.verdicts import run_verdict
    from hotfolder.types import Verdict

    raise typer.Exit(run_verdict(root or context.obj, Verdict.REJECT, files, dry_run=dry_run, as_json=as_json))


@app.command()
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


@app.command()
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


@app.command()
def restore(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Files that were dropped.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every image that was dropped.")] = False,
    to: Annotated[Path | None, typer.Option(help="Copy them below this folder instead.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Put what was dropped back where it was dropped, as it was: it is not worked again."""
    from hotfolder.cli.restore import run_restore

    raise typer.Exit(
        run_restore(root or context.obj, files or [], to, everything=everything, dry_run=dry_run, as_json=as_json)
    )


@app.command()
def gallery(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Where it listens; else gallery.host: this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="0: a free one; else gallery.port.")] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Only who has the token in this file is let in; made if it is not there."),
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


@app.command()
def datasette(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The file; else datasette.json in the root.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Write titles, descriptions and ready questions for Datasette, another program that shows the database."""
    from hotfolder.cli.datasette import run_datasette

    run_datasette(root or context.obj, file, as_json=as_json)


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


app.add_typer(pictures)  # without a name: its commands stand beside those above
app.add_typer(models, name="models")
app.add_typer(taste, name="taste")
app.add_typer(service, name="service")
app.add_typer(workers, name="workers")
app.add_typer(bench, name="bench")
app.add_typer(config, name="config")
