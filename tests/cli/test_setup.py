"""From an empty home directory to kept pictures, as the README says, against a hub on loopback."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hotfolder.folders.layout import Layout
from hotfolder.models.registry import Catalogue
from tests.cli.test_demo import without_network
from tests.cli.test_docs import README, blocks
from tests.support import tiny
from tests.support.hub import Hub, Repository, serve, sha256
from tests.support.roots import check_consistent, files_in, picture
from tests.support.shell import Home, constant_tower, random_compact, random_head

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """What the registry names, small but in the real formats, where the registry says that it is."""
    folder = tmp_path_factory.mktemp("hub")
    known = {entry.name: entry for entry in Catalogue().entries()}
    hub = Hub()
    tiny.flux().save_pretrained(folder / "flux")
    tiny.sdxl().to(dtype=torch.float16).save_pretrained(folder / "sdxl", variant="fp16")
    tower = constant_tower(folder / "tower.safetensors")
    for name, files in {
        "flux-schnell": {**tiny.files_of(folder / "flux"), "flux1-schnell.safetensors": b"not wanted"},
        "sdxl-turbo": {**tiny.files_of(folder / "sdxl"), "sd_xl_turbo_1.0.safetensors": b"not wanted"},
        "clip-vit-l-14": {"model.safetensors": tower.read_bytes(), "pytorch_model.bin": b"not wanted"},
    }.items():
        entry = known[name]
        hub.repositories[str(entry.repo)] = Repository(str(entry.revision), files, gated=entry.gated)
    for name, path in {
        "laion-v2": random_head(folder / "head.pth"),
        "realesrgan-x4plus": random_compact(folder / "x4plus.pth"),
        "realesr-animevideov3": random_compact(folder / "anime.pth", 1),
    }.items():
        address = str(known[name].files[0].url).removeprefix("https://github.com").replace("%2B", "%2B")
        hub.addresses[address] = path.read_bytes()
    with serve(hub) as served:
        yield served


def with_small_hashes(hub: Hub) -> str:
    """Entries for what is pinned by a sha256 in the registry: the same, with those of the small files."""
    lines = []
    for name in ("clip-vit-l-14", "laion-v2", "realesrgan-x4plus", "realesr-animevideov3"):
        entry = Catalogue().entry(name)
        assert entry is not None
        (file,) = entry.files
        data = (
            hub.repositories[entry.repo].files["model.safetensors"]
            if entry.repo
            else hub.addresses[str(file.url).removeprefix("https://github.com")]
        )
        told = {**file.model_dump(exclude_none=True), "sha256": sha256(data), "size": len(data)}
        fields = ", ".join(f"{key} = {json.dumps(value)}" for key, value in told.items())
        lines += ["[[model]]", f'name = "{name}"', f'kind = "{entry.kind}"', f"files = [{{ {fields} }}]"]
        lines += [
            f'{key} = "{value}"' for key in ("repo", "revision", "encoder") if (value := getattr(entry, key))
        ]
    return "\n".join(["", *lines, ""])


def test_the_real_set_up_from_an_empty_home(tmp_path: Path, hub: Hub) -> None:
    home = Home(
        tmp_path, HF_ENDPOINT=hub.url, HOTFOLDER_MODELS__MIRROR=hub.url, HOTFOLDER_OUTPUT__MIN_FREE_MB="1",
        HOTFOLDER_GATE__KEEP="1.5", HOTFOLDER_GATE__REGENERATE_BELOW="1", HOTFOLDER_GATE__UPSCALE="2",
    )  # fmt: skip
    set_up = next(block for block in blocks(README, "sh") if "models pull" in block)
    first, second = re.split(r"(?<=sdxl-turbo\n)", set_up)
    done = home.run(first)
    assert done.returncode == 0, done.stderr
    layout = Layout(home.path / "hotfolder")
    with (layout.root / "hotfolder.toml").open("a") as file:
        file.write(with_small_hashes(hub))
    done = home.run(second)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything is here" in done.stdout
    assert not re.search(r"^fail", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +model +sdxl-turbo \(generate\)", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +model +laion-v2 \(score\), sha256 verified", done.stdout, re.MULTILINE)
    assert (home.path / ".config/systemd/user/hotfolder.service").read_text().startswith("# User unit")
    assert "nothing to object" in done.stdout or "no such tool" in done.stdout
    assert "systemctl --user restart --no-block hotfolder.service" in home.calls.read_text()
    # Nothing but what is wanted was fetched.
    assert not [path for _, path, _ in hub.asked if path.endswith(("sd_xl_turbo_1.0.safetensors", "model.bin"))]

    # A gated one needs a token, and says so; with one, and another by address, it comes.
    assert "HF_TOKEN" in home.run("hotfolder models pull flux-schnell").stderr
    done = home.run(
        "HF_TOKEN=hf_x hotfolder models pull flux-schnell realesr-animevideov3 && hotfolder models verify"
    )
    assert done.returncode == 0, done.stderr

    # And now without the network.
    asked = len(hub.asked)
    small = "--steps 1 --width 64 --height 64"
    prompts = f"a cat --seed 1 {small}\na dog --seed 2 {small} --model flux-schnell\n"
    (layout.root / "inbox/generate/two.txt").write_text(prompts)
    picture(layout.root / "inbox/score/a.png")
    picture(layout.root / "inbox/upscale/b.png", 1)
    done = home.run("hotfolder run --once", before=tuple(without_network()))
    assert done.returncode == 0, done.stderr
    assert len(hub.asked) == asked
    check_consistent(layout)
    assert files_in(layout, "inbox", "failed") == []
    assert {"keep/a.png", "keep/two-L1-s1.png", "keep/two-L2-s2.png"} <= set(files_in(layout, "keep", "reject"))
    connection = sqlite3.connect(layout.database)
    found = connection.execute("SELECT DISTINCT model FROM results WHERE role = 'generated' ORDER BY 1").fetchall()
    scorers = connection.execute("SELECT DISTINCT scorer FROM results").fetchall()
    connection.close()
    assert found == [("flux-schnell",), ("sdxl-turbo",)]
    assert scorers == [("laion-v2",)]
