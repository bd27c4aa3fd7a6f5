"""What a worker imports: the one pipeline that it draws with, and no other; the daemon none of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
_DRAW = """
import json, sys, tempfile
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.types import Batch, Item, Kind, Outcome, RunnerSettings
told = []
with tempfile.TemporaryDirectory() as folder:
    item = Item(1, 1, None, folder + "/staging", {"prompt": "a red circle", "seed": 1})
    batch = Batch(1, Kind.GENERATE, "shapes", (item,))
    ModelRunner(RunnerSettings(device="cpu")).work(batch, told.append, lambda: False)
(outcome,) = (each for each in told if isinstance(each, Outcome))
assert outcome.error is None, outcome.error
drawing = [name.split(".") for name in sys.modules if name.startswith("diffusers.pipelines.")]
pipelines = {parts[2] for parts in drawing if len(parts) > 3}
others = ("timm", "open_clip", "spandrel", "scipy", "sklearn", "bitsandbytes")
beside = [name for name in others if name in sys.modules]
types = {type(value).__module__ for value in outcome.staged.settings.values()}
print(json.dumps([sorted(pipelines), beside, sorted(types)]))
"""


def test_a_worker_that_draws_imports_one_pipeline_and_tells_plain_values() -> None:
    done = subprocess.run([sys.executable, "-c", _DRAW], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pipelines, beside, types = json.loads(done.stdout.splitlines()[-1])
    assert pipelines == ["stable_diffusion"]
    assert beside == []
    # A value of a class of torch's would make the daemon import torch to read it.
    assert types == ["builtins"]
