"""models list, pull, verify, rm and link, against a hub on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from spandrel.architectures.Compact import Compact

from hotfolder.cli.run import load_checked
from hotfolder.errors import ModelMissing, UsageError
from hotfolder.models.registry import BUILTIN, Catalogue
from tests.support import forks
from tests.support.hub import Hub, Repository, serve, sha256
from tests.support.roots import picture as draw

pytestmark = pytest.mark.slow

REVISION = "0123456789abcdef0123456789abcdef01234567"


def compact(seed: int) -> bytes:
    """A small network for enlarging, in the real format."""
    torch.manual_seed(seed)
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=16, num_conv=2, upscale=4)
    return save({k: v.contiguous() for k, v in net.state_dict().items()})


SMALL = compact(0)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(Hub()) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory with a root whose configuration names a model by address and one of the hub."""
    root = tmp_path / "root"
    root.mkdir()
    return tmp_path


def configure(home: Path, hub: Hub, *, sha: str = sha256(SMALL), size: int | None = len(SMALL)) -> None:
    told = f", size = {size}" if size else ""
    (home / "root/hotfolder.toml").write_text(f"""
[models]
mirror = "{hub.url}"
[[model]]
name = "small"
kind = "upscale"
files = [{{ path = "small.safetensors", url = "https://github.com/x/small.safetensors", sha256 = "{sha}"{told} }}]
[[model]]
name = "drawer"
kind = "generate"
repo = "owner/drawer"
revision = "{REVISION}"
include = ["model_index.json", "*/*"]
files = [{{ path = "model_index.json" }}]
[[model]]
name = "one-file"
kind = "upscale"
repo = "owner/drawer"
revision = "{REVISION}"
files = [{{ path = "one.safetensors", hub_path = "unet/weights.safetensors", sha256 = "{sha256(SMALL)}" }}]
""")
    hub.addresses["/x/small.safetensors"] = SMALL
    files = {
        "model_index.json": b"{}",
        "unet/config.json": b'{"a": 1}',
        "unet/weights.safetensors": SMALL,
        "x.bin": b"no",
    }
    hub.repositories["owner/drawer"] = Repository(REVISION, files)


def run(home: Path, hub: Hub | None, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HOTFOLDER_"))}
    env = {
        **clean,
        "HOME": str(home),
        **({"HF_ENDPOINT": hub.url} if hub else {}),
        "HF_HUB_DISABLE_XET": "1",
        **environ,
    }
    return forks.run("hotfolder", "--root", str(home / "root"), *arguments, env=env)


def listed(home: Path, hub: Hub) -> dict[str, dict[str, Any]]:
    document = json.loads(run(home, hub, "models", "list", "--json").stdout)
    return {model["name"]: model for model in document["models"]}


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_pull_by_address_and_from_the_hub(home: Path, hub: Hub) -> None:
    configure(home, hub)
    done = run(home, hub, "models", "pull", "small", "drawer", "one-file")
    assert done.returncode == 0, done.stderr
    models = listed(home, hub)
    assert {name: models[name]["installed"] for name in ("small", "drawer", "one-file", "laion-v2")} == {
        "small": "pulled", "drawer": "pulled", "one-file": "pulled", "laion-v2": "no",
    }  # fmt: skip
    # In the hub's own layout, where other programs find it, and nothing that was not asked for.
    snapshot = home / f".cache/huggingface/hub/models--owner--drawer/snapshots/{REVISION}"
    assert files_below(snapshot) == {"model_index.json", "config.json", "weights.safetensors"}
    assert (home / ".local/share/hotfolder/models/small/small.safetensors").read_bytes() == SMALL
    asked = len(hub.asked)
    assert "here already" in run(home, hub, "models", "pull", "small", "drawer").stdout
    assert len(hub.asked) == asked
    verified = run(home, None, "models", "verify")
    assert verified.returncode == 0
    assert {"small: ok", "drawer: ok", "one-file: ok", "shapes: ok"} <= set(verified.stdout.splitlines())


def test_a_model_without_a_commit_is_pinned_at_the_first_pull(home: Path, hub: Hub) -> None:
    configure(home, hub)
    path = home / "root/hotfolder.toml"
    path.write_text(path.read_text().replace(REVISION, "first", 1))
    done = run(home, hub, "models", "pull", "drawer")
    assert done.returncode == 0, done.stderr
    assert f"(commit {REVISION[:12]}, which is pinned now)" in done.stdout
    hub.repositories["owner/drawer"].revision = "9" * 40  # a newer one
    record = home / ".local/share/hotfolder/models/drawer/installed.json"
    for file in json.loads(record.read_text())["files"][:1]:
        Path(file["path"]).resolve().unlink()
    again = run(home, hub, "models", "pull", "drawer", "--json")
    assert f"not {REVISION}" in again.stdout  # what was pinned is asked for, and this hub has it no more
    assert again.returncode == 1
    assert json.loads(record.read_text())["revision"] == REVISION
    assert run(home, hub, "models", "rm", "drawer").returncode == 0
    assert run(home, hub, "models", "pull", "drawer").returncode == 0
    assert json.loads(record.read_text())["revision"] == "9" * 40


@pytest.mark.parametrize("size", [len(SMALL), None])
def test_an_interrupted_pull_goes_on_where_it_was_cut_off(home: Path, hub: Hub, size: int | None) -> None:
    configure(home, hub, size=size)
    whole = bytes(range(256)) * 1024
    hub.addresses["/x/small.safetensors"] = whole
    configured = (home / "root/hotfolder.toml").read_text().replace(sha256(SMALL), sha256(whole), 1)
    (home / "root/hotfolder.toml").write_text(configured.replace(f"size = {len(SMALL)}", f"size = {len(whole)}"))
    hub.cut["/x/small.safetensors"] = 100_000
    cut = run(home, hub, "models", "pull", "small")
    assert cut.returncode == 1
    assert "goes on where it was cut off" in cut.stderr
    assert listed(home, hub)["small"]["installed"] == "no"
    assert run(home, hub, "models", "pull", "small").returncode == 0
    assert hub.ranges("small.safetensors") == [None, "bytes=65536-"]
    assert (home / ".local/share/hotfolder/models/small/small.safetensors").read_bytes() == whole


def test_an_interrupted_pull_from_the_hub_goes_on_too(home: Path, hub: Hub) -> None:
    configure(home, hub)
    path = f"/owner/drawer/resolve/{REVISION}/unet/weights.safetensors"
    whole = bytes(range(256)) * 100_000
    hub.repositories["owner/drawer"].files["unet/weights.safetensors"] = whole
    configured = (home / "root/hotfolder.toml").read_text()
    first, _, second = configured.rpartition(sha256(SMALL))
    (home / "root/hotfolder.toml").write_text(first + sha256(whole) + second)
    hub.cut[path] = 22_000_000
    cut = run(home, hub, "models", "pull", "one-file")
    if cut.returncode:  # the library itself goes on, or leaves that to the next time
        assert listed(home, hub)["one-file"]["installed"] == "no"
        assert run(home, hub, "models", "pull", "one-file").returncode == 0
    # The library writes ten million bytes at a time, and a little more.
    asked = hub.ranges("weights.safetensors")
    assert asked[0] is None and len(asked) == 2
    assert 10_000_000 < int(str(asked[1]).removeprefix("bytes=").removesuffix("-")) <= 22_000_000
    assert run(home, None, "models", "verify", "one-file").stdout == "one-file: ok\n"


def test_a_wrong_hash_is_refused_and_nothing_is_installed(home: Path, hub: Hub) -> None:
    configure(home, hub, sha="0" * 64)
    hub.repositories["owner/drawer"].files["unet/weights.safetensors"] = compact(1)
    done = run(home, hub, "models", "pull", "small", "one-file", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)["models"]
    assert [each["error"]["kind"] for each in told] == ["model_damaged", "model_damaged"]
    assert all("nothing was installed" in each["error"]["message"] for each in told)
    models = listed(home, hub)
    assert {models["small"]["installed"], models["one-file"]["installed"]} == {"no"}
    assert files_below(home / ".local/share/hotfolder") == set()
    assert not any("weights" in name or len(name) == 64 for name in files_below(home / ".cache/huggingface"))


def test_what_the_hub_changed_is_noticed(home: Path, hub: Hub) -> None:
    """A small file whose content is not that of the pinned commit."""
    configure(home, hub)
    repository = hub.repositories["owner/drawer"]
    honest = repository.listing

    def lie(name: str) -> dict[str, Any]:
        found = honest(name)
        for sibling in found["siblings"]:
            sibling["blobId"] = "1" * 40
        return found

    repository.listing = lie  # type: ignore[method-assign]
    done = run(home, hub, "models", "pull", "drawer")
    assert done.returncode == 1
    assert "is not what it should be" in done.stderr
    assert listed(home, hub)["drawer"]["installed"] == "no"


def test_a_part_of_something_else_is_begun_anew(home: Path, hub: Hub) -> None:
    configure(home, hub)
    part = home / ".local/share/hotfolder/models/small/.small.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 500)
    assert run(home, hub, "models", "pull", "small").returncode == 0
    assert hub.ranges("small.safetensors") == ["bytes=500-", None]


def test_without_space_nothing_is_fetched(home: Path, hub: Hub) -> None:
    configure(home, hub, size=10**15)
    done = run(home, hub, "models", "pull", "small")
    assert done.returncode == 1
    assert "1000000.0 GB are to be fetched" in done.stderr
    assert hub.asked == []


def test_a_source_that_sends_too_much_does_not_fill_the_disk(home: Path, hub: Hub) -> None:
    configure(home, hub, size=1000)
    hub.addresses["/x/small.safetensors"] = bytes(5_000_000)
    done = run(home, hub, "models", "pull", "small")
    assert done.returncode == 1
    assert "is not what it should be" in done.stderr
    assert files_below(home / ".local/share/hotfolder") == set()


def test_what_was_put_there_by_hand_is_not_removed(home: Path, hub: Hub) -> None:
    configure(home, hub)
    path = home / ".local/share/hotfolder/models/small/small.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(SMALL)
    done = run(home, hub, "models", "rm", "small")
    assert done.returncode == 2
    assert "remove yourself" in done.stderr
    assert path.exists()


def test_links_that_lead_nowhere_and_names_that_are_alike(
    home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, hub)
    folder = home / "models/upscale_models"
    folder.mkdir(parents=True)
    (folder / "a.pth").symlink_to("nowhere")
    (folder / "b.pth").write_bytes(compact(3))
    (folder / "b.safetensors").write_bytes(compact(4))
    shutil.copytree(BUILTIN / "shapes", home / "models/diffusers/mine")
    done = run(home, hub, "models", "link", str(home / "models"))
    assert done.returncode == 0, done.stderr
    assert "a.pth (cannot be read: " in done.stdout
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    catalogue = Catalogue()
    found = {name: catalogue.resolve(name, "upscale").files[0].path.name for name in ("b", "b-2")}
    assert found == {"b": "b.pth", "b-2": "b.safetensors"}
    assert catalogue.resolve("mine", "generate").folder == home / "models/diffusers/mine"
    # A stray file of that name elsewhere is not taken for it, and a record that is not understood costs no other.
    (home / "stray").mkdir()
    (home / "stray/b.pth").write_bytes(b"x")
    assert Catalogue((str(home / "stray"),)).resolve("b", "upscale").files[0].path == folder / "b.pth"
    record = home / ".local/share/hotfolder/models/b/installed.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps({**told, "entry": {**told["entry"], "kind": "something new", "more": 1}}))
    assert {"b-2", "mine"} <= {entry.name for entry in Catalogue().entries()}
    with pytest.raises(UsageError, match="no model is called 'b'"):
        Catalogue().resolve("b", "upscale")


def test_a_reload_fetches_nothing(home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download may take hours, and would hold up the loop."""
    configure(home, hub)
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.setenv("HOTFOLDER_UPSCALE__MODEL", "small")
    monkeypatch.setenv("HOTFOLDER_MODELS__AUTO_PULL", "true")
    with pytest.raises(ModelMissing, match="small"):
        load_checked(home / "root")
    assert hub.asked == []


def test_a_gated_model_says_how_to_get_it(home: Path, hub: Hub) -> None:
    configure(home, hub)
    hub.repositories["owner/drawer"].gated = True
    done = run(home, hub, "models", "pull", "drawer")
    assert done.returncode == 1
    assert "accepted the licence" in done.stderr
    assert "HF_TOKEN" in done.stderr
    assert run(home, hub, "models", "pull", "drawer", HF_TOKEN="hf_x").returncode == 0


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["smal"], "did you mean 'small'?"),
        (["laion-v1"], "has no pinned source"),
        (["missing"], "could not be fetched: 404"),
    ],
)
def test_what_cannot_be_pulled_is_said(home: Path, hub: Hub, names: list[str], says: str) -> None:
    configure(home, hub)
    with (home / "root/hotfolder.toml").open("a") as file:
        file.write('[[model]]\nname = "missing"\nkind = "upscale"\n')
        file.write(f'files = [{{ path = "a.pth", url = "{hub.url}/a.pth", sha256 = "{"0" * 64}" }}]\n')
    done = run(home, hub, "models", "pull", *names)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_is_not_there(home: Path, hub: Hub) -> None:
    configure(home, hub)
    nobody = Hub(url="http://127.0.0.1:9")
    done = run(home, nobody, "models", "pull", "drawer", HOTFOLDER_MODELS__MIRROR="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_damage_is_found_and_mended(home: Path, hub: Hub) -> None:
    configure(home, hub)
    assert run(home, hub, "models", "pull", "small", "one-file").returncode == 0
    path = home / ".local/share/hotfolder/models/small/small.safetensors"
    path.write_bytes(SMALL[:-1] + b"x")
    done = run(home, hub, "models", "verify")
    assert done.returncode == 1
    assert f"small: damaged {path}" in done.stdout
    assert "hotfolder models rm small" in done.stdout
    assert run(home, hub, "models", "rm", "small", "one-file").returncode == 0
    models = listed(home, hub)
    assert {models["small"]["installed"], models["one-file"]["installed"]} == {"no"}
    assert files_below(home / ".cache/huggingface/hub/models--owner--drawer") == set()
    assert run(home, hub, "models", "pull", "small").returncode == 0
    assert run(home, hub, "models", "verify", "small").returncode == 0
    assert run(home, hub, "models", "rm", "shapes").returncode == 2
    assert run(home, hub, "models", "rm", "laion-v2").returncode == 2


def test_models_of_other_programs_are_used_where_they_lie(home: Path, hub: Hub) -> None:
    configure(home, hub)
    comfy = home / "ComfyUI/models"
    for name, data in {
        "upscale_models/renamed.pth": SMALL,
        "upscale_models/4x Ultra.safetensors": compact(2),
        "checkpoints/big.safetensors": b"x",
        "diffusers/My Pipeline/model_index.json": b"{}",
    }.items():
        (comfy / name).parent.mkdir(parents=True, exist_ok=True)
        (comfy / name).write_bytes(data)
    done = run(home, hub, "models", "link", str(comfy), "--json")
    assert done.returncode == 0, done.stderr
    found = {Path(each["path"]).name: each["name"] for each in json.loads(done.stdout)["found"]}
    assert found == {
        "renamed.pth": "small", "4x Ultra.safetensors": "4x-ultra", "big.safetensors": None,
        "My Pipeline": "my-pipeline",
    }  # fmt: skip
    models = listed(home, hub)
    assert {models[name]["installed"] for name in ("small", "4x-ultra", "my-pipeline")} == {"linked"}
    assert files_below(home / ".local/share/hotfolder") == {"installed.json"}
    again = run(home, hub, "models", "link", str(comfy), "--json")
    assert {Path(each["path"]).name: each["name"] for each in json.loads(again.stdout)["found"]} == found
    draw(home / "a.png")
    enlarged = run(home, None, "upscale", str(home / "a.png"), "--model", "4x-ultra", "--out", str(home / "out"))
    assert enlarged.returncode == 0, enlarged.stderr
    assert (home / "out/a_4x.png").exists()
    # Gone there, it is gone here; and removing the link leaves the file alone.
    (comfy / "upscale_models/renamed.pth").unlink()
    assert listed(home, hub)["small"]["installed"] == "no"
    assert run(home, hub, "models", "rm", "4x-ultra").returncode == 0
    assert (comfy / "upscale_models/4x Ultra.safetensors").exists()
    assert "4x-ultra" not in listed(home, hub)


def test_what_the_configuration_names_is_fetched_at_the_start_only_if_it_says_so(home: Path, hub: Hub) -> None:
    configure(home, hub)
    draw(home / "root/inbox/upscale/a.png")
    environ = {"HOTFOLDER_UPSCALE__MODEL": "small", "HOTFOLDER_OUTPUT__MIN_FREE_MB": "1"}
    refused = run(home, hub, "run", "--once", **environ)
    assert refused.returncode == 4
    assert hub.asked == []
    done = run(home, hub, "run", "--once", HOTFOLDER_MODELS__AUTO_PULL="true", **environ)
    assert done.returncode == 0, done.stderr
    assert (home / "root/upscaled/a_4x.png").exists()
    assert hub.ranges("small.safetensors") == [None]


def test_a_missing_model_says_how_to_get_it(home: Path, hub: Hub) -> None:
    configure(home, hub)
    done = run(home, hub, "score", "x.png", "--scorer", "laion-v2")
    assert done.returncode == 4
    assert "hotfolder models pull clip-vit-l-14" in done.stderr or "hotfolder models pull laion-v2" in done.stderr


def test_the_registry_is_whole() -> None:
    """Each entry says what it is, and what it can be fetched from is pinned."""
    for entry in Catalogue().entries():
        assert entry.licence and entry.about and entry.family, entry.name
        if entry.is_pullable and not entry.is_folder:
            assert entry.files, entry.name
            assert [file.path for file in entry.files if not (file.sha256 and file.size)] == [], entry.name
        for other in (entry.encoder, entry.twin):
            assert other is None or Catalogue().entry(other) is not None
        is_its_encoder = entry.kind == "score" and entry.encoder is not None and not entry.files
        if not entry.builtin and not is_its_encoder and entry.name not in ("laion-v1", "laion-safety"):
            assert entry.is_pullable and entry.memory_mb, entry.name
