"""Denoisers in one file: GGUF, and ComfyUI's scaled fp8 in both spellings, draw what their weights say."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from PIL import Image
from safetensors.torch import load_file, save_file

from hotfolder.engines.generation import generator as generator_module
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import Hooks
from hotfolder.errors import FailedPicture, HotfolderError, ModelDamaged, UsageError
from hotfolder.models.checkpoint import read_header
from hotfolder.models.quantised import check_scales
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import checkpoints, tiny
from tests.support.tiny_families import made

pytestmark = pytest.mark.slow

Weights = dict[str, torch.Tensor]
#: Whose file is in diffusers' own names; the makers' names have widths of the real ones in diffusers' code, or are cut
#: from other layers, of which Z-Image's are tested.
FAMILIES = ("z-image-turbo", "qwen-image", "flux-schnell")
each_family = pytest.mark.parametrize("family", FAMILIES)
#: Layers whose weights are in 8 bits, as ComfyUI keeps them.
_BLOCK = re.compile(r"(blocks|layers)\.\d+\..*weight$")


#: As fp8 decodes: the VAE of the tiny FLUX.1 has tiles of 32 pixels.
TILED = {"memory": "tiled"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("folders")

    @functools.cache
    def saved(family: str) -> Path:
        pipeline = tiny.flux() if family == "flux-schnell" else made(family)
        pipeline.save_pretrained(root / family)
        checkpoints.lora_file(pipeline, root / f"{family}.lora.safetensors", seed=1)
        return root / family

    return saved


def _weights(folder: Path) -> Weights:
    return load_file(folder / "transformer/diffusion_pytorch_model.safetensors")


def _with_weights(folder: Path, target: Path, weights: Weights) -> Path:
    """The folder as it would be with these."""
    shutil.copytree(folder, target)
    save_file(weights, target / "transformer/diffusion_pytorch_model.safetensors")
    return target


def _load(file: Path, base: Path | None, **settings: Any) -> Generator:
    name = file.name if file.is_file() else "model_index.json"
    entry = {"name": "it", "kind": "generate", "files": [{"path": name}], **({"base": str(base)} if base else {})}
    place = file.parent if file.is_file() else file
    spec = Catalogue((str(place),), (entry,)).resolve("it", Kind.GENERATE)
    chosen = RunnerSettings(**{"precision": "float32", **settings})
    style = (base or file).parent / f"{(base or file).name}.lora.safetensors"
    return Generator(spec, torch.device("cpu"), chosen, Hooks(lora=lambda _: style))


def _draw(generator: Generator, **params: Any) -> Image.Image:
    size = {"width": 64, "height": 64, "steps": 2}
    return generator.draw_one({"prompt": "a cat", "seed": 7, **size, **params})[0]


def _off(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def _scaled(weights: Weights, spelling: str) -> tuple[Weights, Weights, dict[str, str]]:
    """As ComfyUI keeps them, what they are then, and the header's metadata."""
    kept, meant, layers = dict(weights), dict(weights), {}
    for name, weight in weights.items():
        if _BLOCK.search(name) and weight.ndim == 2:
            layer = name.removesuffix(".weight")
            scale = weight.abs().max() / 448 * 0.7  # not one that makes it come out the same without
            kept[name] = (weight / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
            meant[name] = kept[name].float() * scale
            kept[layer + (".scale_weight" if spelling == "old" else ".weight_scale")] = scale
            kept[layer + (".scale_input" if spelling == "old" else ".input_scale")] = torch.tensor(0.5)
            told = {"format": "float8_e4m3fn"}
            layers[layer] = told
            if spelling == "new":
                kept[f"{layer}.comfy_quant"] = torch.frombuffer(
                    bytearray(json.dumps(told).encode()), dtype=torch.uint8
                )
    if spelling == "old":
        kept["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
    return kept, meant, metadata if spelling == "header" else {}


@each_family
@pytest.mark.parametrize("spelling", ["old", "new", "header"])
def test_scaled_fp8_draws_what_its_weights_are_times_their_scales(
    folder: Callable[[str], Path], tmp_path: Path, family: str, spelling: str
) -> None:
    base = folder(family)
    kept, meant, metadata = _scaled(_weights(base), spelling)
    if spelling == "new":  # as ComfyUI saves it from its own graph
        kept = {f"model.diffusion_model.{name}": weight for name, weight in kept.items()}
    save_file(kept, tmp_path / "it.safetensors", metadata)
    want = _draw(_load(_with_weights(base, tmp_path / "meant", meant), None, **TILED))
    unscaled = {name: kept.get(name, weight).float() for name, weight in meant.items()}
    if spelling == "old":  # what the plain loader makes of it
        assert _off(_draw(_load(_with_weights(base, tmp_path / "unscaled", unscaled), None, **TILED)), want) > 20
    whole = _load(tmp_path / "it.safetensors", base, **TILED)
    in_8_bits = _load(tmp_path / "it.safetensors", base, memory="fp8")
    stored = {weights.dtype for weights in in_8_bits.denoiser.parameters()}
    assert torch.float8_e4m3fn in stored
    for generator in (whole, in_8_bits):
        plain = _draw(generator)
        assert _off(plain, want) <= 1
        assert _off(_draw(generator, lora=[("style", 1.0)]), plain) > 1
        assert _draw(generator).tobytes() == plain.tobytes()


@contextmanager
def _gguf_at(path: Path) -> Iterator[gguf.GGUFWriter]:
    """For tensors to be added to; written and closed when they are."""
    writer = gguf.GGUFWriter(path, "test")
    yield writer
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_gguf(path: Path, weights: Weights, kind: GGMLQuantizationType) -> Weights:
    """Gives what is meant: as ggml's own package reads it."""
    meant = {}
    with _gguf_at(path) as writer:
        for name, weight in weights.items():
            array, size = weight.float().numpy(), gguf.GGML_QUANT_SIZES[kind][0]
            if _BLOCK.search(name) and array.ndim == 2 and array.shape[-1] % size == 0:
                packed = gguf.quants.quantize(array, kind)
                meant[name] = torch.from_numpy(gguf.quants.dequantize(packed, kind).copy())
                writer.add_tensor(name, packed, raw_dtype=kind)
            else:
                meant[name] = weight
                writer.add_tensor(name, array)
    assert any(not torch.equal(meant[name], weights[name]) for name in weights)
    return meant


@pytest.mark.parametrize(
    ("family", "kind"),
    [(family, "Q8_0") for family in FAMILIES] + [("z-image-turbo", kind) for kind in ("Q5_0", "Q4_0", "BF16")],
)
def test_gguf_draws_what_its_weights_are(
    folder: Callable[[str], Path], tmp_path: Path, family: str, kind: str
) -> None:
    base = folder(family)
    meant = _write_gguf(tmp_path / "it.gguf", _weights(base), GGMLQuantizationType[kind])
    want = _draw(_load(_with_weights(base, tmp_path / "meant", meant), None))
    generator = _load(tmp_path / "it.gguf", base)
    plain = _draw(generator)
    assert _off(plain, want) <= 1
    if kind == "Q8_0":
        assert _off(_draw(generator, lora=[("style", 1.0)]), plain) > 1
        assert _draw(generator).tobytes() == plain.tobytes()


def test_blocks_of_256_weights_are_read(folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Q4_K and Q6_K: ggml's package only reads them, so that the blocks are any."""
    base = folder("z-image-turbo")
    weights = _weights(base)
    (name,) = [key for key, weight in weights.items() if weight.ndim == 2 and weight.shape[1] == 256]
    rows = len(weights[name])
    for kind, scales in (("Q4_K", (0, 2)), ("Q6_K", (208,))):
        packed = np.random.default_rng(0).integers(
            0, 256, (rows, gguf.GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1])
        )
        packed = packed.astype(np.uint8)
        for at in scales:
            packed[:, at : at + 2] = np.frombuffer(np.float16(2e-4).tobytes(), np.uint8)
        with _gguf_at(tmp_path / f"{kind}.gguf") as writer:
            for key, weight in weights.items():
                if key == name:
                    writer.add_tensor(key, packed, raw_dtype=GGMLQuantizationType[kind])
                else:
                    writer.add_tensor(key, weight.numpy())
        read = gguf.quants.dequantize(packed, GGMLQuantizationType[kind])
        meant = {**weights, name: torch.from_numpy(read.copy())}
        want = _draw(_load(_with_weights(base, tmp_path / kind, meant), None))
        assert _off(_draw(_load(tmp_path / f"{kind}.gguf", base)), want) <= 1


def test_a_denoiser_as_it_is_and_in_the_makers_names(folder: Callable[[str], Path], tmp_path: Path) -> None:
    base = folder("z-image-turbo")
    weights, fused = _weights(base), {}
    for name, weight in weights.items():
        if ".attention.to_q.weight" in name:
            parts = [weights[name.replace("to_q", part)] for part in ("to_q", "to_k", "to_v")]
            fused[name.replace("to_q", "qkv")] = torch.cat(parts)
        elif ".attention.to_k." not in name and ".attention.to_v." not in name:
            renamed = name.replace("attention.to_out.0.", "attention.out.").replace(
                "attention.norm_q", "attention.q_norm"
            )
            renamed = renamed.replace("attention.norm_k", "attention.k_norm")
            renamed = renamed.replace("all_x_embedder.2-1", "x_embedder").replace(
                "all_final_layer.2-1", "final_layer"
            )
            fused[renamed] = weight
    want = _draw(_load(base, None))
    for name, given in (("own", weights), ("makers", fused)):
        save_file(given, tmp_path / f"{name}.safetensors")
        assert _draw(_load(tmp_path / f"{name}.safetensors", base)).tobytes() == want.tobytes(), name
    kept, meant, _ = _scaled(fused, "old")
    save_file(kept, tmp_path / "scaled.safetensors")
    save_file(meant, tmp_path / "meant.safetensors")
    pictures = [_draw(_load(tmp_path / "scaled.safetensors", base, memory=plan)) for plan in ("full", "fp8")]
    want = _draw(_load(tmp_path / "meant.safetensors", base))
    assert [_off(picture, want) <= 1 for picture in pictures] == [True, True]


# --- what is refused ------------------------------------------------------------------------------


def _layer(**more: Any) -> Weights:
    tensors: Weights = {"layers.0.a.weight": torch.zeros(4, 4, dtype=torch.float8_e4m3fn)}
    for name, value in more.items():
        told = isinstance(value, dict)
        data = (
            torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8) if told else value.clone()
        )
        tensors[f"layers.0.a.{name}"] = data
    return tensors


_ONE = torch.tensor(1.0)
_OTHERS: dict[str, tuple[Weights, str]] = {
    "mxfp8": (_layer(weight_scale=_ONE, comfy_quant={"format": "mxfp8"}), "mxfp8"),
    "nvfp4": (_layer(weight_scale=_ONE, comfy_quant={"format": "nvfp4"}), "nvfp4"),
    "nvfp4 by its scales": (_layer(weight_scale=_ONE, weight_scale_2=_ONE), "nvfp4"),
    "convrot": (_layer(weight_scale=_ONE, comfy_quant={"format": "convrot_w4a4"}), "convrot_w4a4"),
    "int4": (_layer(weight_scale=_ONE, comfy_quant={"format": "asym_w4a8_int8"}), "asym_w4a8_int8"),
    "rotated": (
        _layer(weight_scale=_ONE, comfy_quant={"format": "int8_tensorwise", "convrot": True}), "rotated weights"
    ),
    "bitsandbytes": (_layer(absmax=_ONE), "bitsandbytes"),
    "packed": ({"layers.0.a.weight": torch.zeros(4, 4, dtype=torch.uint8)}, "type U8"),
    "scaled halves": (
        {"layers.0.a.weight": torch.zeros(4, 4).half(), "layers.0.a.weight_scale": _ONE}, "scales for weights in F16"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("weights", "says"), _OTHERS.values(), ids=_OTHERS)
def test_other_formats_are_refused_by_name(
    folder: Callable[[str], Path], tmp_path: Path, weights: Weights, says: str
) -> None:
    path = tmp_path / "it.safetensors"
    save_file(weights, path)
    with pytest.raises(UsageError, match=says):
        check_scales(path, read_header(path))
    with pytest.raises(UsageError, match=says):
        _load(path, folder("z-image-turbo"))


def test_a_layer_that_tells_nonsense_is_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    save_file(_layer(comfy_quant=torch.full((4,), 200, dtype=torch.uint8)), path)
    with pytest.raises(ModelDamaged):
        check_scales(path, read_header(path))


def test_what_does_not_go_together_is_said(folder: Callable[[str], Path], tmp_path: Path) -> None:
    base = folder("z-image-turbo")
    file = tmp_path / "it.gguf"
    _write_gguf(file, _weights(base), GGMLQuantizationType.Q8_0)
    with pytest.raises(UsageError, match="is the denoiser of a model alone"):
        _load(file, None)
    with pytest.raises(UsageError, match="does not fit"):
        _load(file, folder("qwen-image"))
    with pytest.raises(UsageError, match="fewer bits already"):
        _load(file, base, memory="fp8")
    with pytest.raises(UsageError, match="nf4 needs a diffusers folder"):
        _load(file, base, memory="nf4")
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(ModelDamaged):
        _load(file, base)
    file.write_bytes(b"GGUF but not really")
    with pytest.raises(ModelDamaged):
        _load(file, base)
    with _gguf_at(file) as writer:
        writer.add_tensor("a", np.zeros((1, 66), np.uint8), raw_dtype=GGMLQuantizationType.IQ2_XXS)
    with pytest.raises(UsageError, match="type IQ2_XXS, which is not read"):
        _load(file, base)


def test_what_cannot_be_made_wider_fails_at_once(
    folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = folder("z-image-turbo")
    _write_gguf(tmp_path / "it.gguf", _weights(base), GGMLQuantizationType.Q8_0)
    generator = _load(tmp_path / "it.gguf", base, precision="bfloat16")
    with monkeypatch.context() as patch:
        patch.setattr(generator_module, "is_failed", lambda _: True)
        with pytest.raises(FailedPicture):
            _draw(generator)
    _draw(generator)


def test_a_files_identity_has_its_base_in_it(folder: Callable[[str], Path], tmp_path: Path) -> None:
    base = folder("z-image-turbo")
    save_file(_weights(base), tmp_path / "it.safetensors")
    other = _with_weights(base, tmp_path / "other", _weights(base))
    (other / "vae/config.json").write_text((other / "vae/config.json").read_text() + " ")
    seen = {
        _load(tmp_path / "it.safetensors", place).draw_one(
            {"prompt": "a", "seed": 1, "width": 64, "height": 64, "steps": 1}
        )[1]["model_sha256"]
        for place in (base, other)
    }
    assert len(seen) == 2


def test_no_file_of_weights_is_taken_for_a_lora(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(HotfolderError, match="is not a model that can lora"):
        Catalogue().resolve(str(tmp_path / "a.gguf"), "lora")
