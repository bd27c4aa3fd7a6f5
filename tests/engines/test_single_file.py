"""Generators that are one .safetensors file: what they are, how they are found, and what is refused."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from hotfolder.engines.generation import single_file
from hotfolder.engines.generation.generator import Generator
from hotfolder.errors import HotfolderError, ModelDamaged, UsageError
from hotfolder.models import fingerprint as fingerprint_module
from hotfolder.models.family import family_of
from hotfolder.models.fingerprint import fingerprint
from hotfolder.models.registry import Catalogue, ModelSpec, sha256_of
from hotfolder.types import Kind, RunnerSettings
from tests.support import checkpoints, tiny

CPU = torch.device("cpu")
LDM = ("sd15", "sdxl")
each_ldm = pytest.mark.parametrize("family", LDM)


@pytest.fixture(scope="module", autouse=True)
def refused() -> Iterator[list[str]]:
    """The network, and unpickling: what was asked of them. Nothing may be."""
    asked: list[str] = []

    def refuse(*args: Any, **_: Any) -> None:
        asked.append(str(args))
        raise OSError("not in this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(torch, "load", refuse)
        yield asked
    assert asked == []


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of each family a pipeline folder, the folder without its weights, and the same as one file."""
    folder = tmp_path_factory.mktemp("shelf")
    for family in ("sd15", "sdxl", "flux"):
        pipeline = getattr(tiny, family)()
        pipeline.save_pretrained(folder / family)
        _without_weights(folder / family, folder / f"{family}-config")
        write = checkpoints.flux_file if family == "flux" else checkpoints.ldm_file
        write(pipeline, folder / f"{family}.safetensors")
    yield folder


def _without_weights(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))


def _entry(name: str, file: str, base: Path | str | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "kind": "generate", "files": [{"path": file}]}
    return entry if base is None else {**entry, "base": str(base)}


def _resolve(folder: Path, file: str, base: Path | str | None, *others: Mapping[str, Any]) -> ModelSpec:
    return Catalogue((str(folder),), (_entry("one", file, base), *others)).resolve("one", Kind.GENERATE)


def _draw(spec: ModelSpec, precision: str = "float32") -> tuple[Image.Image, Mapping[str, Any]]:
    generator = Generator(spec, CPU, RunnerSettings(precision=precision))
    try:
        return generator.draw_one({"prompt": "a cat", "seed": 7, "width": 32, "height": 32, "steps": 2})
    finally:
        generator.close()


def _off(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def _of_folder(folder: Path) -> Image.Image:
    image, _ = _draw(Catalogue().resolve(str(folder), Kind.GENERATE))
    extrema = image.getextrema()
    assert extrema != ((extrema[0][0],) * 2,) * 3  # something is in it
    return image


# --- the same picture ----------------------------------------------------------------------------


@each_ldm
@pytest.mark.parametrize("base", ["config", "full"])
def test_a_file_draws_what_its_pipeline_draws(shelf: Path, family: str, base: str) -> None:
    folder = shelf / (family if base == "full" else f"{family}-config")
    spec = _resolve(shelf, f"{family}.safetensors", folder)
    assert (spec.family, spec.loader) == (family, "single_file")
    assert spec.defaults["width"] == (512 if family == "sd15" else 1024)
    image, settings = _draw(spec)
    assert _off(image, _of_folder(shelf / family)) <= 1
    assert (settings["model"], settings["family"]) == ("one", family)
    assert settings["model_sha256"] == sha256_of(shelf / f"{family}.safetensors")
    assert settings["sampler"] == ("PLMS" if family == "sd15" else "Euler")


def test_the_files_weights_are_drawn_with_and_not_those_of_its_base(shelf: Path, tmp_path: Path) -> None:
    other = tiny.sd15(seed=1)
    checkpoints.ldm_file(other, tmp_path / "other.safetensors")
    other.save_pretrained(tmp_path / "folder")
    image, _ = _draw(_resolve(tmp_path, "other.safetensors", shelf / "sd15"))
    assert _off(image, _of_folder(tmp_path / "folder")) <= 1 < _off(image, _of_folder(shelf / "sd15"))


def test_a_flux_file_takes_the_other_parts_from_its_base(shelf: Path, tmp_path: Path) -> None:
    pipeline = tiny.flux()
    other = tiny.flux(seed=1)
    checkpoints.flux_file(other, tmp_path / "other.safetensors")
    pipeline.transformer = other.transformer
    pipeline.save_pretrained(tmp_path / "mixed")
    with checkpoints.flux_width():
        spec = _resolve(tmp_path, "other.safetensors", shelf / "flux")
        assert spec.family == "flux-schnell"
        image, settings = _draw(spec)
    assert settings["family"] == "flux-schnell"
    assert _off(image, _of_folder(tmp_path / "mixed")) <= 1 < _off(image, _of_folder(shelf / "flux"))


def test_a_base_can_be_named_as_a_model(shelf: Path) -> None:
    entries = (_entry("one", "sd15.safetensors", "base"), _entry("base", "model_index.json"))
    spec = Catalogue((str(shelf), str(shelf / "sd15")), entries).resolve("one", Kind.GENERATE)
    assert spec.base is not None
    assert spec.base.folder == shelf / "sd15"
    assert _off(_draw(spec)[0], _of_folder(shelf / "sd15")) <= 1


# --- without a base ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wordy(shelf: Path) -> Path:
    """Tiny pipelines with CLIP's own words, the same as files, and their configurations as in FAMILIES."""
    folder = shelf / "usual"
    for family in LDM:
        pipeline = getattr(tiny, family)()
        for part in ("text_encoder", "text_encoder_2"):
            if getattr(pipeline, part, None) is not None:
                encoder = getattr(pipeline, part)
                encoder.resize_token_embeddings(49_408)
                encoder.config.update({"bos_token_id": 49_406, "eos_token_id": 49_407})
        pipeline.tokenizer = single_file.clip_tokenizer()
        if family == "sdxl":
            pipeline.tokenizer_2 = single_file.clip_tokenizer(pad_token="!")
        pipeline.save_pretrained(folder / "whole" / family)
        _without_weights(folder / "whole" / family, folder / "families" / family)
        for name in ("tokenizer", "tokenizer_2"):
            shutil.rmtree(folder / "families" / family / name, ignore_errors=True)
        (folder / "models" / "checkpoints").mkdir(parents=True, exist_ok=True)
        checkpoints.ldm_file(pipeline, folder / "models" / f"{family}-Loose_v1.safetensors")
    shutil.copy(
        folder / "models" / "sd15-Loose_v1.safetensors", folder / "models" / "checkpoints" / "below.safetensors"
    )
    return folder


@pytest.fixture
def usual(wordy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These sizes are taken for the usual ones of their families."""
    monkeypatch.setattr(single_file, "FAMILIES", wordy / "families")
    return wordy


@each_ldm
def test_a_file_needs_no_entry_and_no_base(usual: Path, family: str) -> None:
    path = usual / "models" / f"{family}-Loose_v1.safetensors"
    want = _of_folder(usual / "whole" / family)
    by_path = Catalogue().resolve(str(path), Kind.GENERATE)
    by_name = Catalogue((str(usual / "models"),)).resolve(f"{family}-Loose_v1", Kind.GENERATE)
    assert by_path == by_name
    assert (by_name.name, by_name.family, by_name.base) == (f"{family}-Loose_v1", family, None)
    assert _off(_draw(by_name)[0], want) <= 1


def test_a_file_may_lie_among_the_checkpoints(usual: Path) -> None:
    catalogue = Catalogue((str(usual / "models"),))
    spec = catalogue.resolve("below", Kind.GENERATE)
    assert spec.files[0].path == usual / "models" / "checkpoints" / "below.safetensors"
    assert _off(_draw(spec)[0], _of_folder(usual / "whole" / "sd15")) <= 1
    with pytest.raises(UsageError, match="'nothing'"):
        catalogue.resolve("nothing", Kind.GENERATE)


def test_an_ending_may_be_sft(shelf: Path, tmp_path: Path) -> None:
    shutil.copy(shelf / "sd15.safetensors", tmp_path / "short.sft")
    assert Catalogue((str(tmp_path),)).resolve("short", Kind.GENERATE).family == "sd15"
    assert _off(_draw(_resolve(tmp_path, "short.sft", shelf / "sd15"))[0], _of_folder(shelf / "sd15")) <= 1


def test_one_file_is_not_said_to_be_in_4_bits(shelf: Path) -> None:
    spec = _resolve(shelf, "sd15.safetensors", shelf / "sd15")
    with pytest.raises(HotfolderError, match="nf4"):
        Generator(spec, CPU, RunnerSettings(precision="float32", memory="nf4"))


# --- precisions and layouts ----------------------------------------------------------------------


@each_ldm
@pytest.mark.parametrize("kept_in", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("drawn_in", ["float32", "bfloat16"])
def test_weights_of_any_precision_become_the_one_it_draws_in(
    shelf: Path, tmp_path: Path, family: str, kept_in: torch.dtype, drawn_in: str
) -> None:
    weights = _changed(shelf / f"{family}.safetensors", lambda tensor: tensor.to(kept_in))
    save_file(weights, tmp_path / "small.safetensors")
    dtype = getattr(torch, drawn_in)
    pipeline: Any = single_file.load_single_file(tmp_path / "small.safetensors", shelf / family, dtype)
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(parts) == (3 if family == "sd15" else 4)
    floats = [tensor for part in parts for tensor in part.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {dtype}
    name = "model.diffusion_model.input_blocks.0.0.weight"
    assert torch.equal(pipeline.unet.conv_in.weight, weights[name].to(dtype))
    assert (
        pipeline.vae.decoder.conv_in.weight == weights["first_stage_model.decoder.conv_in.weight"].to(dtype)
    ).all()


def _changed(path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: change(tensor) if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()
    }


def test_a_file_of_half_the_digits_draws_nearly_the_same(shelf: Path, tmp_path: Path) -> None:
    half = _changed(shelf / "sd15.safetensors", torch.Tensor.half)
    save_file(half, tmp_path / "half.safetensors")
    image, settings = _draw(_resolve(tmp_path, "half.safetensors", shelf / "sd15"))
    assert settings["precision"] == "float32"
    assert _off(image, _of_folder(shelf / "sd15")) <= 3


def test_a_flux_file_of_8_bits_as_comfyui_saves_it(shelf: Path, tmp_path: Path) -> None:
    weights = _changed(shelf / "flux.safetensors", lambda tensor: tensor.to(torch.float8_e4m3fn))
    named = {f"model.diffusion_model.{name}": tensor for name, tensor in weights.items()}
    save_file({**named, "vae.decoder.x": torch.zeros(1)}, tmp_path / "small.safetensors")
    with checkpoints.flux_width():
        pipeline: Any = single_file.load_single_file(
            tmp_path / "small.safetensors", shelf / "flux", torch.bfloat16
        )
    found = pipeline.transformer.x_embedder.weight
    assert torch.equal(found, weights["img_in.weight"].to(torch.bfloat16))


def test_the_layout_of_early_models_is_understood(shelf: Path, tmp_path: Path) -> None:
    weights = load_file(shelf / "sd15.safetensors")
    named = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in weights.items()}
    assert named.keys() != weights.keys()
    save_file(named, tmp_path / "early.safetensors")
    image, _ = _draw(_resolve(tmp_path, "early.safetensors", shelf / "sd15"))
    assert _off(image, _of_folder(shelf / "sd15")) <= 1


# --- what is refused: by its header --------------------------------------------------------------

_UNET = "model.diffusion_model."
#: The marks of whole checkpoints, with the shapes that count; the text encoders' names apart.
_SD = {
    f"{_UNET}input_blocks.0.0.weight": [320, 4, 3, 3],
    f"{_UNET}out.2.weight": [4, 320, 3, 3],
    "first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3],
}
_ONE = {"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": [1, 1]}
_TWO = {
    f"{_UNET}label_emb.0.0.weight": [1, 1],
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": [1, 1],
    "conditioner.embedders.1.model.token_embedding.weight": [1, 1],
}
_FLUX = {
    "img_in.weight": [64, 64],
    "vector_in.in_layer.weight": [1, 1],
    "double_blocks.0.img_mod.lin.weight": [1, 1],
    "single_blocks.0.linear1.weight": [1, 1],
    "final_layer.linear.weight": [64, 1],
}
Shapes = dict[str, list[int]]


def _fake(path: Path, shapes: Shapes, dtypes: Mapping[str, str] | None = None, metadata: Any = None) -> Path:
    """A file that has all that its header says, as zeros."""
    end, header = 0, {}
    for name, shape in shapes.items():
        dtype = (dtypes or {}).get(name, "F16")
        size = int(np.prod(shape)) * (1 if dtype in ("U8", "I8") else 2)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({**header, **({} if metadata is None else {"__metadata__": metadata})}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({**_SD, **_ONE}, "sd15"),
        ({**_SD, **_TWO}, "sdxl"),
        (_FLUX, "flux-schnell"),
        ({f"{_UNET}{name}": shape for name, shape in _FLUX.items()}, "flux-schnell"),
        ({**_FLUX, "guidance_in.in_layer.weight": [1, 1]}, "flux"),
    ],
)
def test_the_family_is_found_from_the_header_alone(tmp_path: Path, shapes: Shapes, family: str) -> None:
    path = _fake(tmp_path / "a.safetensors", shapes)
    assert family_of(path) == family
    assert Catalogue().resolve(str(path), Kind.GENERATE).family == family


_OTHERS: dict[str, tuple[Shapes, str]] = {
    "LoRA of kohya": ({"lora_unet_x.lora_down.weight": [1]}, "a LoRA"),
    "LoRA of peft": ({"unet.x.lora_A.weight": [1]}, "a LoRA"),
    "LoHa": ({"lora_unet_x.hada_w1_a": [1]}, "a LoRA"),
    "upscaler": ({"model.0.weight": [64, 3, 3, 3], "model.1.sub.0.RDB1.conv1.0.weight": [1]}, "not a model"),
    "nothing": ({}, "not a model"),
    "SD 2": ({**_SD, "cond_stage_model.model.ln_final.weight": [1]}, "Stable Diffusion 2"),
    "SD 2 of SGM": ({**_SD, "conditioner.embedders.0.model.ln_final.weight": [1]}, "Stable Diffusion 2"),
    "SD 3": ({f"{_UNET}joint_blocks.0.x_block.attn.qkv.weight": [1]}, "Stable Diffusion 3"),
    "inpainting": ({**_SD, **_ONE, f"{_UNET}input_blocks.0.0.weight": [320, 9, 3, 3]}, "inpainting"),
    "inpainting SDXL": ({**_SD, **_TWO, f"{_UNET}input_blocks.0.0.weight": [320, 9, 3, 3]}, "inpainting"),
    "pix2pix": ({**_SD, **_ONE, f"{_UNET}input_blocks.0.0.weight": [320, 8, 3, 3]}, "starts from a picture"),
    "refiner": (
        {**_SD, f"{_UNET}label_emb.0.0.weight": [1, 1], "conditioner.embedders.0.model.ln_final.weight": [1]},
        "refiner",
    ),
    "v-prediction": ({**_SD, **_TWO, "v_pred": [0]}, "v-prediction"),
    "EDM": ({**_SD, **_TWO, "edm_mean": [1]}, "EDM"),
    "scaled fp8": ({**_SD, **_ONE, f"{_UNET}out.2.scale_weight": [1]}, "quantised"),
    "bitsandbytes": ({**_FLUX, "single_blocks.0.linear1.weight.quant_state.bitsandbytes__nf4": [1]}, "quantised"),
    "Flux Fill": ({**_FLUX, "img_in.weight": [64, 384]}, "Fill"),
    "Chroma": ({"distilled_guidance_layer.in_proj.bias": [1]}, "Chroma"),
    "FLUX.2": ({"single_stream_modulation.lin.weight": [1]}, "FLUX.2"),
    "ControlNet": ({"control_model.input_blocks.0.0.weight": [1]}, "ControlNet"),
    "a UNet of diffusers": ({"down_blocks.0.resnets.0.conv1.weight": [1]}, "one part of a pipeline"),
    "UNet alone": (_SD, "no text encoder"),
    "no second encoder": (
        {name: shape for name, shape in {**_SD, **_TWO}.items() if "embedders.1" not in name},
        "no text encoder",
    ),
    "no VAE": ({name: shape for name, shape in {**_SD, **_ONE}.items() if "first" not in name}, "no VAE"),
}


@pytest.mark.parametrize(("shapes", "says"), _OTHERS.values(), ids=_OTHERS)
def test_what_is_something_else_is_called_by_its_name(tmp_path: Path, shapes: Shapes, says: str) -> None:
    path = _fake(tmp_path / "a-model.safetensors", shapes)
    for resolve in (lambda: family_of(path), lambda: Catalogue().resolve(str(path), Kind.GENERATE)):
        with pytest.raises(UsageError) as caught:
            resolve()
        assert str(path) in caught.value.message
        assert says in caught.value.message
        assert caught.value.fix


def test_marks_in_the_metadata_and_in_the_types_count_too(tmp_path: Path) -> None:
    path = _fake(tmp_path / "v.safetensors", {**_SD, **_TWO}, metadata={"modelspec.prediction_type": "v"})
    with pytest.raises(UsageError, match=r"v\.safetensors is a v-prediction"):
        family_of(path)
    path = _fake(tmp_path / "q.safetensors", {**_SD, **_ONE}, dtypes={f"{_UNET}out.2.weight": "U8"})
    with pytest.raises(UsageError, match=r"q\.safetensors has weights that are quantised"):
        family_of(path)
    path = _fake(tmp_path / "e.safetensors", {**_SD, **_TWO}, metadata={"modelspec.prediction_type": "epsilon"})
    assert family_of(path) == "sdxl"


def test_a_real_lora_is_no_checkpoint(tmp_path: Path) -> None:
    for write in (checkpoints.lora_file, checkpoints.kohya_lora_file):
        with pytest.raises(UsageError, match=r"style\.safetensors is a LoRA, not a checkpoint"):
            family_of(write(tiny.sd15(), tmp_path / "style.safetensors"))


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin", ".CKPT"])
def test_a_pickle_is_refused_and_not_opened(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"old{ending}"
    path.write_bytes(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(UsageError, match="is a pickle, which can run any program") as caught:
        family_of(path)
    assert str(path) in caught.value.message
    assert ".safetensors" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        Catalogue().resolve(str(path), Kind.GENERATE)
    assert str(path) in caught.value.message


def test_a_pickle_under_another_name_is_not_opened_either(tmp_path: Path, refused: list[str]) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "p.safetensors")
    with pytest.raises(ModelDamaged, match=r"p\.safetensors cannot be read"):
        Catalogue().resolve(str(tmp_path / "p.safetensors"), Kind.GENERATE)
    assert refused == []


def _with_header(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


_FIRST = f"{_UNET}input_blocks.0.0.weight"
_LIES = {
    "empty": b"",
    "text": b"<!DOCTYPE html><html><body>404</body></html>",
    "seven bytes": b"\x01" * 7,
    "longest header": b"\xff" * 8 + b"{}",
    "header of 99 MB": _with_header(b"{}", 99_000_000),
    "no JSON": _with_header(b"not json"),
    "no UTF-8": _with_header(b'{"\xff\xfe": 1}'),
    "a list": _with_header(b"[]"),
    "a number": _with_header(b"5"),
    "null": _with_header(b"null"),
    "deep": _with_header(b'{"a":' * 100_000),
    "tensor is a number": _with_header(b'{"a": 1}'),
    "tensor is a list": _with_header(b'{"a": []}'),
    "no shape": _with_header(b'{"a": {"dtype": "F16", "data_offsets": [0, 0]}}'),
    "no dtype": _with_header(b'{"a": {"shape": [], "data_offsets": [0, 0]}}'),
    "no offsets": _with_header(b'{"a": {"dtype": "F16", "shape": []}}'),
    "one offset": _with_header(b'{"a": {"dtype": "F16", "shape": [], "data_offsets": [0]}}'),
    "offset is a word": _with_header(b'{"a": {"dtype": "F16", "shape": [], "data_offsets": [0, "x"]}}'),
    "shape is a word": _with_header(b'{"a": {"dtype": "F16", "shape": "x", "data_offsets": [0, 0]}}'),
    "shape of lists": _with_header(b'{"a": {"dtype": "F16", "shape": [[1]], "data_offsets": [0, 0]}}'),
    "more than there is": _with_header(b'{"a": {"dtype": "F16", "shape": [9], "data_offsets": [0, 18]}}'),
    "infinite shape": _with_header(b'{"a": {"dtype": "F16", "shape": [1e999], "data_offsets": [0, 0]}}'),
    "infinite offset": _with_header(b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, Infinity]}}'),
    "metadata is a list": _with_header(b'{"__metadata__": [1]}'),
    "metadata is a word": _with_header(b'{"__metadata__": "x"}'),
}


@pytest.mark.parametrize(
    "content",
    [pytest.param(content, id=name) for name, content in _LIES.items()],
)
def test_a_header_that_lies_is_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lies.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"lies\.safetensors cannot be read") as caught:
        Catalogue().resolve(str(path), Kind.GENERATE)
    assert caught.value.fix


def test_weights_that_lie_are_told_when_they_are_read(shelf: Path, tmp_path: Path) -> None:
    """The header is sound JSON, and says the shape of another family, or more than the bytes are."""
    raw = (shelf / "sd15.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header[_FIRST]["shape"][0] *= 2
    path = tmp_path / "lies.safetensors"
    path.write_bytes(_with_header(json.dumps(header).encode()) + raw[8 + size :])
    assert family_of(path) == "sd15"
    with pytest.raises(HotfolderError, match=r"lies\.safetensors"):
        single_file.load_single_file(path, shelf / "sd15", torch.float32)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_cut_file_is_damaged(shelf: Path, tmp_path: Path, family: str) -> None:
    raw = (shelf / f"{family}.safetensors").read_bytes()
    for length in (4, 100, len(raw) // 2, len(raw) - 1):
        (tmp_path / "cut.safetensors").write_bytes(raw[:length])
        with pytest.raises(ModelDamaged, match=r"cut\.safetensors cannot be read"):
            _resolve(tmp_path, "cut.safetensors", shelf / family)


def test_a_file_that_goes_or_ends_after_it_was_found_is_damaged(shelf: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    shutil.copy(shelf / "sd15.safetensors", path)
    spec = _resolve(tmp_path, "one.safetensors", shelf / "sd15")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelDamaged, match=r"one\.safetensors cannot be read"):
        Generator(spec, CPU, RunnerSettings())


# --- what is refused: by its base, or by what is missing -----------------------------------------


def _loads(path: Path, base: Path | None) -> Any:
    return single_file.load_single_file(path, base, torch.float32)


def test_flux_without_a_base_says_what_it_needs(shelf: Path) -> None:
    spec = Catalogue().resolve(str(shelf / "flux.safetensors"), Kind.GENERATE)
    with pytest.raises(UsageError, match=r"flux\.safetensors is the transformer of FLUX\.1 alone") as caught:
        Generator(spec, CPU, RunnerSettings())
    assert "base" in caught.value.fix


def test_flux_needs_the_weights_of_its_base(shelf: Path) -> None:
    with pytest.raises(UsageError, match="has no weights in text_encoder and text_encoder_2 and vae"):
        _loads(shelf / "flux.safetensors", shelf / "flux-config")


@pytest.mark.parametrize(
    ("file", "base"), [("sd15", "sdxl"), ("sdxl", "sd15"), ("flux", "sd15"), ("sd15", "flux")]
)
def test_a_base_of_another_family_is_refused(shelf: Path, file: str, base: str) -> None:
    with pytest.raises(UsageError) as caught:
        _loads(shelf / f"{file}.safetensors", shelf / base)
    assert f"{file}.safetensors is " in caught.value.message
    assert str(shelf / base) in caught.value.message
    assert caught.value.fix == "name a base of the same family"


def test_flux_dev_does_not_fit_schnell(shelf: Path, tmp_path: Path) -> None:
    weights = load_file(shelf / "flux.safetensors")
    save_file({**weights, "guidance_in.in_layer.weight": torch.zeros(1, 1)}, tmp_path / "dev.safetensors")
    assert family_of(tmp_path / "dev.safetensors") == "flux"
    with pytest.raises(UsageError, match=r"dev\.safetensors does not fit .*schnell"):
        _loads(tmp_path / "dev.safetensors", shelf / "flux")


@each_ldm
def test_a_file_of_another_size_says_so(shelf: Path, family: str) -> None:
    path = shelf / f"{family}.safetensors"
    with pytest.raises(UsageError, match="of the usual size") as caught:
        _loads(path, None)
    assert str(path) in caught.value.message
    assert "base" in caught.value.fix


@each_ldm
@pytest.mark.parametrize(
    "part", [f"{_UNET}middle_block.0.in_layers.2.weight", "first_stage_model.decoder.conv_out.bias", "fc1.weight"]
)
def test_a_file_that_lacks_a_weight_is_refused(shelf: Path, tmp_path: Path, family: str, part: str) -> None:
    weights = load_file(shelf / f"{family}.safetensors")
    del weights[next(name for name in weights if name.endswith(part))]
    save_file(weights, tmp_path / "less.safetensors")
    with pytest.raises(UsageError, match=r"less\.safetensors does not fit .*missing"):
        _loads(tmp_path / "less.safetensors", shelf / f"{family}-config")


def test_a_base_without_its_words_is_refused(shelf: Path, tmp_path: Path) -> None:
    shutil.copytree(shelf / "sd15-config", tmp_path / "base")
    shutil.rmtree(tmp_path / "base" / "tokenizer")
    with pytest.raises(ModelDamaged, match="has no tokenizer"):
        _loads(shelf / "sd15.safetensors", tmp_path / "base")
    with pytest.raises(ModelDamaged, match=r"nowhere.*cannot be read"):
        _loads(shelf / "sd15.safetensors", tmp_path / "nowhere")


# --- the families, without weights ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family", "part", "published"),
    [
        (UNet2DConditionModel, "sd15", "unet", 859_520_964),
        (UNet2DConditionModel, "sdxl", "unet", 2_567_463_684),
        (AutoencoderKL, "sd15", "vae", 83_653_863),
        (AutoencoderKL, "sdxl", "vae", 83_653_863),
        (CLIPTextModel, "sd15", "text_encoder", 123_060_480),
        (CLIPTextModel, "sdxl", "text_encoder", 123_060_480),
        (CLIPTextModelWithProjection, "sdxl", "text_encoder_2", 694_659_840),
    ],
)
def test_the_networks_of_a_family_have_their_published_size(
    model: Any, family: str, part: str, published: int
) -> None:
    folder = single_file.FAMILIES / family
    with torch.device("meta"):
        if part.startswith("text_encoder"):
            network = model(CLIPTextConfig.from_pretrained(folder / part))
        else:
            network = model.from_config(model.load_config(folder, subfolder=part))
    assert sum(weights.numel() for weights in network.parameters()) == published


def test_the_words_are_those_of_clip() -> None:
    tokenizer = single_file.clip_tokenizer()
    assert len(tokenizer) == 49_408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("A Photo  of a CAT").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = tokenizer("a", padding="max_length", max_length=5).input_ids
    assert padded == [49406, 320, 49407, 49407, 49407]
    second = single_file.clip_tokenizer(pad_token="!")
    assert second("a", padding="max_length", max_length=5).input_ids == [49406, 320, 49407, 0, 0]
    assert len(tokenizer("a " * 200, truncation=True).input_ids) == 77


# --- identity ------------------------------------------------------------------------------------


def _reads(patch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []

    def count(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    patch.setattr(fingerprint_module, "sha256_of", count)
    return read


def _spec_of(path: Path) -> ModelSpec:
    return Catalogue().resolve(str(path), Kind.GENERATE)


def _change_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_the_same_content_is_the_same_model(shelf: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(shelf / "sd15", tmp_path / name)
    cache = tmp_path / "cache.json"
    one, two = (fingerprint(_spec_of(tmp_path / name), cache) for name in ("one", "two"))
    assert one == two
    assert len(one) == 64
    (tmp_path / "two" / "README.md").write_text("not part of it")
    assert fingerprint(_spec_of(tmp_path / "two"), cache) == one
    seen = {one}
    for file in ("unet/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer/tokenizer.json"):
        if file.endswith(".json"):
            (tmp_path / "two" / file).write_text((tmp_path / "two" / file).read_text() + " ")
        else:
            _change_a_byte(tmp_path / "two" / file)
        seen.add(fingerprint(_spec_of(tmp_path / "two"), cache))
    assert len(seen) == 4
    (tmp_path / "one" / "unet" / "config.json").rename(tmp_path / "one" / "unet" / "other.json")
    assert fingerprint(_spec_of(tmp_path / "one"), cache) != one


def test_one_file_is_known_by_its_own_sha256(shelf: Path, tmp_path: Path) -> None:
    shutil.copy(shelf / "sd15.safetensors", tmp_path / "a.safetensors")
    cache = tmp_path / "cache.json"
    before = fingerprint(_spec_of(tmp_path / "a.safetensors"), cache)
    assert before == sha256_of(shelf / "sd15.safetensors")
    _change_a_byte(tmp_path / "a.safetensors")
    assert (
        fingerprint(_spec_of(tmp_path / "a.safetensors"), cache) == sha256_of(tmp_path / "a.safetensors") != before
    )


@pytest.mark.parametrize("name", ["sd15", "sd15.safetensors"])
def test_what_was_read_once_is_remembered(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read, cache = _reads(monkeypatch), tmp_path / "deep" / "cache.json"
    first = fingerprint(_spec_of(shelf / name), cache)
    assert len(read) == (1 if name.endswith("s") else len(set(read))) > 0
    read.clear()
    assert fingerprint(_spec_of(shelf / name), cache) == first
    assert read == []
    cache.write_text("[not what it should be")
    assert fingerprint(_spec_of(shelf / name), cache) == first
    assert read != []


def test_a_digest_that_is_pinned_is_not_read(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _reads(monkeypatch)
    entry = {**_entry("one", "sd15.safetensors"), "files": [{"path": "sd15.safetensors", "sha256": "ab" * 32}]}
    spec = Catalogue((str(shelf),), (entry,)).resolve("one", Kind.GENERATE)
    assert fingerprint(spec, tmp_path / "cache.json") == "ab" * 32
    assert read == []


def test_a_cache_that_cannot_be_written_does_not_matter(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(fingerprint(_spec_of(shelf / "sd15"), tmp_path / "file" / "cache.json")) == 64
