"""One part of `bench all`, as a process: `python -m hotfolder.bench.part NAME`, settings on stdin, findings on stdout.

Each finding is a line of JSON, written as soon as it is known: what a process that is killed has found is not lost.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

from hotfolder.bench.document import Measurement
from hotfolder.errors import HotfolderError
from hotfolder.executors.limits import die_with_parent
from hotfolder.types import RunnerSettings

Give = Callable[[Measurement], None]
#: At the end of the names of parts whose networks are compiled.
COMPILED = "-compiled"


def measure(name: str, settings: RunnerSettings, quick: bool, give: Give, skip: Callable[[str], None]) -> None:
    """Runs a part. `skip` is told why there is nothing to be measured here, where that is so.

    Raises KeyError for a part that does not exist, and whatever goes wrong in it.
    """
    if name.endswith(COMPILED):
        from hotfolder.bench.part_compiled import measure_compiled

        measure_compiled(name.removesuffix(COMPILED), settings, quick, give, skip)
        return
    match name.rpartition("-"):
        case (("rrdb" | "compact") as architecture, _, size):
            from hotfolder.bench.part_upscale import measure_upscale

            measure_upscale(architecture, int(size), settings, quick, give)
            return
    if name == "score":
        from hotfolder.bench.part_score import measure_score

        measure_score(settings, quick, give)
    elif name in ("sdxl", "flux", "z-image"):
        from hotfolder.bench.part_denoise import measure_denoiser

        measure_denoiser(name, settings, quick, give)
    elif name == "line":
        from hotfolder.bench.part_line import measure_line

        measure_line(quick, give)
    elif name == "whole-line":
        from hotfolder.bench.part_line import measure_whole_line

        measure_whole_line(settings, quick, give)
    else:
        raise KeyError(name)


def main(name: str) -> None:
    die_with_parent()  # whoever measures may be killed
    settings, quick = pickle.load(sys.stdin.buffer)
    # What libraries print goes to the log: stdout is ours.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**finding: Any) -> None:
        out.write(json.dumps(finding) + "\n")
        out.flush()

    def give(measurement: Measurement) -> None:
        say(measurement=measurement.model_dump(mode="json"))

    try:
        if name == "machine":
            from hotfolder.bench.part_machine import describe, measure_machine, versions

            say(machine=describe(settings).model_dump(mode="json"), versions=versions())
            measure_machine(settings, quick, give)
        else:
            measure(name, settings, quick, give, lambda why: say(skipped=why))
    except Exception as error:  # whatever it is, the other parts go on
        say(error=_told(error))
        raise SystemExit(1) from error


def _told(error: Exception) -> dict[str, str]:
    from hotfolder.engines.device import classify

    ours = error if isinstance(error, HotfolderError) else classify(error)
    return ours.info().told()


if __name__ == "__main__":
    main(sys.argv[1])
