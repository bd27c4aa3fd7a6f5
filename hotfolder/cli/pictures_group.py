"""The commands that work on pictures where they lie: generate, score, rescore, upscale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hotfolder.cli.options import Csv, Json, Root, Scorer, Since

pictures = typer.Typer(rich_markup_mode=None)


@pictures.command()
def generate(
    context: typer.Context,
    prompts: Annotated[
        list[str],
        typer.Argument(help="Prompts in quotation marks, prompt files, or generated images to make again."),
    ],
    seed: Annotated[int | None, typer.Option(help="Of the first image; else drawn.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Each seed by itself: 1,2,5-9.")] = None,
    count: Annotated[int | None, typer.Option(help="So many images, seeds in a row.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What should not be there.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Such as 'DPM++ 2M Karras'.")] = None,
    model: Annotated[str | None, typer.Option(help="A generator of the registry, or its path.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="NAME:WEIGHT; may be given again.")] = None,
    init_image: Annotated[str | None, typer.Option(help="A picture to begin from.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much of it is drawn anew, 0.01 to 1.")] = None,
    best_of: Annotated[int | None, typer.Option(help="So many tries, of which the best is written.")] = None,
    keep: Annotated[int | None, typer.Option(help="How many of --best-of are.")] = None,
    upscale: Annotated[str | None, typer.Option(help="yes, no, or how many times larger.")] = None,
    wildcards: Annotated[str | None, typer.Option(help="sample, all or off.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images.", readable=False)] = Path(),
    picture_format: Annotated[str | None, typer.Option("--format", help="png, webp or jpeg.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="What is not said is the model's own, whatever [generate] says.")
    ] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="The nearest of what another program's picture was made with.")
    ] = False,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Draw images from prompts, here and now: nothing is recorded."""
    from hotfolder.cli.generate import Options, run_generate

    asked = {
        "seed": seed, "seeds": seeds, "count": count, "steps": steps, "guidance": guidance, "width": width,
        "height": height, "negative_prompt": negative_prompt, "sampler": sampler, "model": model,
        "lora": lora or None, "init_image": init_image, "strength": strength, "best_of": best_of, "keep": keep,
        "upscale": upscale, "wildcards": wildcards,
    }  # fmt: skip
    raise typer.Exit(
        run_generate(
            root or context.obj, prompts, Options(asked, out, picture_format, exact, adapt), as_json=as_json
        )
    )


@pictures.command()
def score(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Image files, folders, or patterns in quotation marks.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also sub-folders.")] = False,
    scorer: Scorer = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What they show, for scorers that judge by it; else what each file says of itself."),
    ] = None,
    stars: Annotated[
        bool, typer.Option("--stars", help="Rate them, too: xmp:Rating in a file beside each (a.jpg.xmp).")
    ] = False,
    in_file: Annotated[
        bool, typer.Option("--in-file", help="With --stars: in JPEG, PNG, WebP, TIFF and DNG themselves.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --stars: also in the place of stars that a person gave.")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    root: Root = None,
) -> None:
    """Judge images where they lie: nothing is moved or recorded."""
    from hotfolder.cli.score import Stars, run_score
    from hotfolder.errors import UsageError

    if (in_file or overwrite) and not stars:
        raise UsageError("--in-file and --overwrite go with --stars", "add --stars")
    rating = Stars(in_file, overwrite) if stars else None
    code = run_score(
        root or context.obj,
        paths,
        recursive=recursive,
        scorer=scorer,
        prompt=prompt,
        stars=rating,
        as_json=as_json,
        as_csv=as_csv,
    )
    raise typer.Exit(code)


@pictures.command()
def rescore(
    context: typer.Context,
    scorer: Scorer = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Judge every image of the database by another scorer, from stored embeddings where there are some."""
    from hotfolder.cli.rescore import run_rescore

    raise typer.Exit(run_rescore(root or context.obj, scorer, as_json=as_json))


@pictures.command()
def upscale(
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Image files, folders, or patterns in quotation marks.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="The best kept results of the root, so many.")] = None,
    since: Since = None,
    scale: Annotated[float | None, typer.Option(help="How many times larger in each direction.")] = None,
    long_edge: Annotated[int | None, typer.Option(help="Pixels that the longer side gets.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Millions of pixels in all.")] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            "--print", help="For a print of this size: A3, Letter, 20x30cm, 8x10in. The picture fits on it."
        ),
    ] = None,
    dpi: Annotated[
        float | None, typer.Option(min=1, max=9600, help="Dots an inch of --print, 300 without it.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A name from the registry, or the path of a file.")] = None,
    denoise: Annotated[float | None, typer.Option(help="0 to 1, for models that come as a pair.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; else beside each image.", readable=False)
    ] = None,
    picture_format: Annotated[str | None, typer.Option("--format", help="png, webp, jpeg, tiff or avif.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles, in input pixels; 0: by the memory.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also sub-folders.")] = False,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Of results: above 0, before what waits with a lower one.")
    ] = None,
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Enlarge images where they lie, results of the root into upscaled/; what is done already is passed over."""
    from hotfolder.cli.upscale import Options, run_upscale

    options = Options(
        scale, long_edge, megapixels, paper, dpi, model, denoise, picture_format, tile, out, recursive, top, since,
        priority,
    )  # fmt: skip
    raise typer.Exit(run_upscale(root or context.obj, paths or [], options, as_json=as_json))
