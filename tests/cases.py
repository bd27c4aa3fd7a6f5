"""What people did, with what went wrong for them: `python -m tests.cases` says of each case whether it goes well here.

The cases lie beside the repository, each with a script; without them there is nothing to run. It takes ten minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import SHARED

#: What a script's exit code means.
_OUTCOMES = {0: "passed", 1: "failed", 2: "partly", 3: "cannot be tried here"}


def main() -> int:
    scripts = sorted(SHARED.glob("cases/*/check.sh"))
    if not scripts:
        sys.exit(f"no cases lie in {SHARED / 'cases'}")
    environ = {**os.environ, "HF": str(Path(sys.executable).with_name("hotfolder")), "PY": sys.executable}
    counts = dict.fromkeys(_OUTCOMES.values(), 0)
    for script in scripts:
        done = subprocess.run(["bash", str(script)], env=environ, capture_output=True, text=True, timeout=600)
        outcome = _OUTCOMES.get(done.returncode, "failed")
        counts[outcome] += 1
        told = done.stdout.strip().splitlines() or [f"{outcome}: {script.parent.name}"]
        sys.stdout.write(f"{told[-1]}\n")
        sys.stdout.flush()
    sys.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) + "\n")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
