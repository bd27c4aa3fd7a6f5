"""What a worker imports: the one pipeline that it draws with, and no other; the daemon none of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotfolder.engines.model_runner import ModelRunner
from hotfolder.folders.layout import Layout
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings
from tests.support.checkpoints import lora_file
from tests.support.roots import QUICK, picture, rows
from tests.test_architecture import HEAVY

pytestmark = pytest.mark.slow
_DRAW = """
import json, sys, tempfile
from hotfolder.engines.deferred import defer_unused
defer_unused(compiles=False)
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.types import Batch, Item, Kind, Outcome, RunnerSettings
runner = ModelRunner(RunnerSettings(device="cpu"))
def draw(**more):
    told = []
    with tempfile.TemporaryDirectory() as folder:
        item = Item(1, 1, None, folder + "/staging", {"prompt": "a red circle", "seed": 1, **more})
        runner.work(Batch(1, Kind.GENERATE, "shapes", (item,)), told.append, lambda: False)
    (outcome,) = (each for each in told if isinstance(each, Outcome))
    assert outcome.error is None, outcome.error
    return outcome
outcome = draw()
unused = ("torch._dynamo.convert_frame", "peft.tuners.lora.layer", "torch.distributed.fsdp.api", "torch.export._trace")
unused += ("sympy.core.basic", "torch.utils._sympy.functions", "torchvision.models.resnet")
unused += ("diffusers.models.transformers.transformer_flux", "diffusers.models.autoencoders.autoencoder_kl_wan")
unused = [name for name in unused if name in sys.modules]
drawing = [name.split(".") for name in sys.modules if name.startswith("diffusers.pipelines.")]
pipelines = {parts[2] for parts in drawing if len(parts) > 3}
others = ("timm", "open_clip", "spandrel", "scipy", "sklearn", "bitsandbytes")
beside = [name for name in others if name in sys.modules]
types = {type(value).__module__ for value in outcome.staged.settings.values()}
drawn = [outcome.staged.sha256, draw(lora=[[sys.argv[1], 1.0]]).staged.sha256]
print(json.dumps([sorted(pipelines), beside + unused, sorted(types), drawn]))
"""


def test_a_worker_that_draws_imports_one_pipeline_and_tells_plain_values(tmp_path: Path) -> None:
    runner = ModelRunner(RunnerSettings(device="cpu"))
    plain = _drawn(runner, tmp_path / "plain")
    pipeline = runner._models[Kind.GENERATE][1]._resident.pipeline
    lora = lora_file(pipeline, tmp_path / "lora.safetensors", seed=1)
    dressed = _drawn(runner, tmp_path / "dressed", lora=[[str(lora), 1.0]])
    runner.close()
    assert plain != dressed
    done = subprocess.run([sys.executable, "-c", _DRAW, lora], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pipelines, beside, types, drawn = json.loads(done.stdout.splitlines()[-1])
    assert pipelines == ["stable_diffusion"]
    assert beside == []
    # As here, where nothing is deferred: what a LoRA needs comes with the first.
    assert drawn == [plain, dressed]
    # A value of a class of torch's would make the daemon import torch to read it.
    assert types == ["builtins"]


def _drawn(runner: ModelRunner, staging: Path, **more: object) -> str:
    """The sha256 of what is drawn in this process."""
    told: list[Outcome | Progress] = []
    item = Item(1, 1, None, str(staging), {"prompt": "a red circle", "seed": 1, **more})
    runner.work(Batch(1, Kind.GENERATE, "shapes", (item,)), told.append, lambda: False)
    (outcome,) = (each for each in told if isinstance(each, Outcome))
    assert outcome.staged is not None, outcome.error
    return outcome.staged.sha256


_WORK = """
import json, pathlib, sys
from hotfolder.bench.line_daemon import peak_memory_mb
from hotfolder.cli.run import run_daemon
code = run_daemon(pathlib.Path(sys.argv[1]), once=True)
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules}), peak_memory_mb()]))
"""


def test_the_daemon_imports_no_model_library_whatever_its_worker_tells(layout: Layout) -> None:
    """Draws, judges and enlarges with the built-in models, in a worker: what comes back is plain."""
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a red circle --seed 1\na blue square --seed 2")
    for kind in (Kind.SCORE, Kind.UPSCALE):
        picture(layout.inbox(kind) / f"{kind}.png", 3, (64, 48))
    (layout.inbox(Kind.SCORE) / "bad.png").write_bytes(b"no picture")
    words = [sys.executable, "-c", _WORK, str(layout.root)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **QUICK})
    assert done.returncode == 0, done.stderr
    code, modules, peak = json.loads(done.stdout.splitlines()[-1])
    assert code == 3  # bad.png
    worked = {kind for (kind,) in rows(layout, "SELECT DISTINCT kind FROM jobs WHERE state = 'done'")}
    assert worked == set(Kind)
    assert HEAVY & set(modules) == set()
    assert peak < 100
