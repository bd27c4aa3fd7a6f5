"""Commands in this process, which has loaded its libraries already: that saves the seconds of each start."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest

from hotfolder.cli import main


def hotfolder(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """As a person would type it in the present folder; the work is done here, and not by a child process."""
    line = ["hotfolder", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOTFOLDER_EXECUTOR__KIND", "inline")
        for key, value in environ.items():
            patch.setenv(key, value)
        patch.setattr(sys, "argv", line)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    told, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(line, code if isinstance(code, int) else int(code is not None), told, said)
