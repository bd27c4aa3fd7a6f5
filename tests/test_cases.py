"""What people did, with what went wrong for them: each case has a script that says whether it goes well here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SHARED

CASES = sorted(path.parent for path in SHARED.glob("cases/*/check.sh"))
#: What a script's exit code means: 2 is partly, 3 is that it cannot be tried here.
PASSED, CANNOT = 0, 3


@pytest.mark.slow
@pytest.mark.skipif(not CASES, reason="the cases are not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case(case: Path, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "HF": str(Path(sys.executable).with_name("hotfolder")),
        "PY": sys.executable,
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", str(case / "check.sh")], env=environ, capture_output=True, text=True, timeout=300
    )
    told = f"{done.stdout}{done.stderr}".strip()
    if done.returncode == CANNOT:
        pytest.skip(told)
    assert done.returncode == PASSED, told
