"""The commands of `hotfolder bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Json, Root, Scorer

bench = typer.Typer(
    help="Measure this machine: our way against the plain way, in one run.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip


@bench.command("all")
def bench_all(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes and scaled-down networks: to see that all of it runs.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=1440, help="How long all of it may take; parts get more time with it.")
    ] = 9.0,
    only: Annotated[list[str] | None, typer.Option(help="This part alone; may be given again.")] = None,
    out: Annotated[
        Path, typer.Option(help="Where the document lies; it is written anew after each part.", readable=False)
    ] = Path("hotfolder-bench.json"),
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Everything on this machine's device, with random weights: the record of a card."""
    from hotfolder.cli.bench_all import run_bench_all

    raise typer.Exit(
        run_bench_all(root or context.obj, quick=quick, only=only or [], out=out, minutes=minutes, as_json=as_json)
    )


@bench.command("generate")
def bench_generate(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="A generator of the registry, or its path.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 8,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    size: Annotated[int | None, typer.Option(help="Their sides, in pixels.")] = None,
    plain: Annotated[int, typer.Option(min=0, help="How many of them go through the plain loop, too.")] = 8,
    together: Annotated[int | None, typer.Option(help="How many are drawn together, at most.")] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Images a second: the network, the whole way, and the plain loop; and the memory they take."""
    from hotfolder.cli.bench import run_bench_generate

    run_bench_generate(
        root or context.obj, images=images, plain=plain, model=model, steps=steps, size=size, together=together,
        as_json=as_json,
    )  # fmt: skip


@bench.command("line")
def bench_line(
    folder: Annotated[
        Path, typer.Argument(help="On whose disk: a new folder is made in it, and removed.", readable=False)
    ] = Path(),
    files: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Tiny images to judge at once; may be given again. [default: 2000]"),
    ] = None,
    fsync_delay: Annotated[
        float, typer.Option("--fsync-delay", min=0, max=1000, help="Each fsync takes so many milliseconds longer.")
    ] = 0.0,
    lone: Annotated[int, typer.Option(min=0, help="Files dropped one by one, to see how long one takes.")] = 7,
    as_json: Json = False,
) -> None:
    """Files a second without models: the daemon, the disk and the database; and how often it waits for the disk."""
    from hotfolder.cli.bench import run_bench_line

    run_bench_line(folder, files=files or [2000], fsync_delay=fsync_delay, lone=lone, as_json=as_json)


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


@bench.command("workers")
def bench_workers(
    jobs: Annotated[
        int, typer.Option(min=8, help="Images to draw; four times as many are judged, and shared asleep.")
    ] = 40,
    only: Annotated[
        str | None, typer.Option(help="This part alone: asleep, scoring, generating or overhead.")
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Judge by ViT-L/14 with random weights, as many images as are drawn; needs no model files.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """How well several devices share the work: three unequal ones beside the ideal, two workers beside one.

    With the extra 'ray' also what a cluster costs for each job, by size of its image: on a node of its own, on this
    machine.
    """
    from hotfolder.cli.bench import run_bench_workers

    run_bench_workers(jobs=jobs, only=only, as_json=as_json, random_weights=random_weights)


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
