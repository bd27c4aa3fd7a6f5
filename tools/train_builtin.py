"""Trains the built-in models: `uv run python -m tools.train_builtin [all|shapes|x4-compact|technical]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tools.builtin.seal import seal

PACK = Path(__file__).parent.parent / "hotfolder" / "models" / "builtin"
#: In the order of their training: `technical` learns from what `x4-compact` makes.
NAMES = ("x4-compact", "technical", "shapes")


def main(
    name: Annotated[str, typer.Argument(help="all, shapes, x4-compact or technical")] = "all",
    out: Annotated[Path, typer.Option(help="the folder that holds the pack")] = PACK,
    seed: Annotated[int, typer.Option(help="seeds the pictures, the weights and the order")] = 0,
) -> None:
    """Trains one built-in model, or all three, on the CPU; about an hour and a half on two cores."""
    if name != "all" and name not in NAMES:
        raise typer.BadParameter(f"{name!r} is not one of all, {', '.join(NAMES)}")
    started = time.monotonic()

    def log(line: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started:6.0f} s] {line}\n")

    for each in NAMES if name == "all" else (name,):
        folder = out / each
        folder.mkdir(parents=True, exist_ok=True)
        if each == "shapes":
            from tools.builtin import shapes

            shapes.train(folder, seed=seed, log=log)
        elif each == "x4-compact":
            from tools.builtin import compact

            compact.train(folder, seed=seed, log=log)
        else:
            from tools.builtin import technical

            technical.train(folder, seed=seed, log=log)
        seal(folder)
        log(f"{each}: written to {folder}")


if __name__ == "__main__":
    typer.run(main)
