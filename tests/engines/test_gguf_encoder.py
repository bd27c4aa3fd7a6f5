"""Text encoders in GGUF: they read as their weights say, stay as small as they are, or are refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.gguf_encoder import is_packed, read_gguf
from hotfolder.engines.generation.loading import weights_of
from hotfolder.engines.generation.text_encoder_file import read_encoders
from hotfolder.errors import BadInput, ModelDamaged, UsageError
from hotfolder.models.fingerprint import fingerprint
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import tiny
from tests.support.gguf_files import write_text_encoder
from tests.support.tiny_families import made

pytestmark = pytest.mark.slow
_IDS = torch.tensor([[5, 80, 17, 3, 250, 9], [1, 2, 3, 4, 5, 6]])
_SIZES = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 264,
}  # fmt: skip
_HEADS = {**_SIZES, "head_dim": 16}


def _t5(proj: str = "gated-gelu") -> Any:
    """With a gate, as T5 1.1 has it."""
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 264}
    return transformers.T5EncoderModel(
        transformers.T5Config(**sizes, feed_forward_proj=proj)  # type: ignore[arg-type]
    )


def _vl(config: str, network: str, **more: Any) -> Any:
    text = {**_SIZES, **more}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 64}
    if config == "Qwen3VLConfig":
        vision["deepstack_visual_indexes"] = [0]  # type: ignore[assignment]
    return getattr(transformers, network)(
        getattr(transformers, config)(text_config=text, vision_config=vision, tie_word_embeddings=True)
    )


def _mistral() -> Any:
    vision = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "head_dim": 8}  # fmt: skip
    return transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(
            text_config={**_HEADS, "model_type": "mistral"}, vision_config=vision, image_token_index=4,
            tie_word_embeddings=False,
        )
    )  # fmt: skip


_ROPE = {"rope_type": "default"}
#: llama.cpp's architecture -> what makes a network of it.
_NETWORKS: dict[str, Callable[[], Any]] = {
    "t5encoder": _t5,
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_HEADS, tie_word_embeddings=True)),
    "qwen2vl": lambda: _vl(
        "Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration", rope_scaling={**_ROPE, "mrope_section": [2, 3, 3]}
    ),
    "qwen3vl": lambda: _vl(
        "Qwen3VLConfig", "Qwen3VLModel", head_dim=16, rope_scaling={**_ROPE, "mrope_section": [2, 3, 3]}
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SIZES, tie_word_embeddings=False)),
    "mistral3": _mistral,
    "gemma2": lambda: transformers.Gemma2Model(transformers.Gemma2Config(**_HEADS, sliding_window=64)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _last(model: Any) -> torch.Tensor:
    more = {"output_hidden_states": True}
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=_IDS, **more).hidden_states[-1]
        return found.float()


def _awake(model: Any) -> Any:
    """Weights like those of a trained one: not all norms one, no bias zero."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 1:
                weights.add_(torch.randn_like(weights) * 0.2)
            elif "norm" not in name:
                weights.copy_(torch.randn_like(weights) * 0.1)
    return model.eval()


def _saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("architecture", _NETWORKS)
def test_it_reads_as_its_weights_do(tmp_path: Path, architecture: str) -> None:
    plain = _awake(_NETWORKS[architecture]())
    folder, path = _saved(plain, tmp_path / "text_encoder"), tmp_path / "it.gguf"
    meant = write_text_encoder(path, plain, architecture)
    before = _last(plain)
    ours = read_gguf(path, type(plain), folder, torch.float32)
    plain.load_state_dict(meant)
    want, found = _last(plain), _last(ours)
    scale = want.abs().mean()
    assert (found - want).abs().max() < 1e-2 * scale  # diffusers makes weights wide as float16
    assert (found - before).abs().mean() < 0.03 * scale  # Q8_0's own rounding
    kept = sum(value.nbytes for value in ours.parameters())
    assert is_packed(ours) and kept < 1.05 * path.stat().st_size
    assert not any(value.is_meta for value in ours.state_dict().values())


@pytest.mark.parametrize("kind", ["BF16", "Q4_0", "F16"])
def test_other_types_of_weights(tmp_path: Path, kind: str) -> None:
    plain = _awake(_t5())
    path = tmp_path / "it.gguf"
    plain.load_state_dict(write_text_encoder(path, plain, "t5encoder", kind))
    ours = read_gguf(path, type(plain), _saved(plain, tmp_path / "text_encoder"), torch.float32)
    assert (_last(ours) - _last(plain)).abs().max() < 1e-2 * _last(plain).abs().mean()


def test_in_half_precision_t5_works_in_float32_where_transformers_does(tmp_path: Path) -> None:
    plain = _awake(_t5())
    path, folder = tmp_path / "it.gguf", _saved(plain, tmp_path / "text_encoder")
    plain.load_state_dict(write_text_encoder(path, plain, "t5encoder"))
    ours = read_gguf(path, type(plain), folder, torch.float16)
    assert ours.dtype is torch.float16
    assert ours.encoder.block[0].layer[1].DenseReluDense.wo.compute_dtype is torch.float32
    assert ours.encoder.block[0].layer[1].DenseReluDense.wi_0.compute_dtype is torch.float16
    assert (_last(ours) - _last(plain)).abs().max() < 0.05 * _last(plain).abs().mean()


def test_it_moves_and_keeps_what_is_shared(tmp_path: Path) -> None:
    plain = _awake(_NETWORKS["qwen3"]())
    path = tmp_path / "it.gguf"
    write_text_encoder(path, plain, "qwen3")
    ours = read_gguf(path, type(plain), _saved(plain, tmp_path / "text_encoder"), torch.bfloat16)
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    ours.to(torch.device("cpu", 0))
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    assert ours.lm_head.weight.quant_type is not None
    assert ours.dtype is torch.bfloat16


def test_transformers_own_reader_finds_the_same(tmp_path: Path) -> None:
    """It makes all of it wide; but the names, and how llama.cpp turns q and k, are its makers' there."""
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor, get_gguf_hf_weights_map

    plain = _awake(_NETWORKS["llama"]())
    path = tmp_path / "it.gguf"
    meant = write_text_encoder(path, plain, "llama")
    from gguf import dequantize

    from hotfolder.models.gguf_reader import Reader

    heads = {name: _SIZES[name] for name in ("num_attention_heads", "num_key_value_heads")}
    processor = LlamaTensorProcessor(heads)
    names = get_gguf_hf_weights_map(plain, processor)
    for tensor in Reader(path).tensors:
        found = processor.process(dequantize(tensor.data, tensor.tensor_type), tensor.name)
        assert np.array_equal(found.weights, meant[names[found.name]].numpy()), tensor.name


# --- in a pipeline --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1: whole in `plain/`, without T5's weights in `base/`, with those of the GGUF file in `meant/`."""
    root = tmp_path_factory.mktemp("shelf")
    pipeline = tiny.flux()
    with torch.no_grad():
        for weights in pipeline.text_encoder_2.parameters():
            weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(3)) * 0.1)
    pipeline.save_pretrained(root / "plain")
    meant = write_text_encoder(root / "t5-encoder-Q8_0.gguf", pipeline.text_encoder_2, "t5encoder")
    shutil.copytree(root / "plain", root / "base")
    (root / "base/text_encoder_2/model.safetensors").unlink()
    shutil.copytree(root / "plain", root / "meant")
    own = load_file(root / "plain/text_encoder_2/model.safetensors")
    save_file(
        {name: meant[name] for name in own}, root / "meant/text_encoder_2/model.safetensors", {"format": "pt"}
    )
    shutil.copyfile(root / "plain/transformer/diffusion_pytorch_model.safetensors", root / "denoiser.safetensors")
    return root


def _spec(shelf: Path, *files: str, **more: Any) -> Any:
    entry = {"name": "it", "kind": "generate", "files": [{"path": name} for name in files], **more}
    return Catalogue((str(shelf),), (entry,)).resolve("it", Kind.GENERATE)


def _drawn(spec: Any, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
    chosen = RunnerSettings(**{"precision": "float32", **settings})
    generator = Generator(spec, torch.device("cpu"), chosen)
    try:
        picture, info = generator.draw_one(
            {"prompt": "a cat on a hill", "seed": 7, "width": 64, "height": 64, "steps": 2}
        )
        return np.asarray(picture, dtype=int), info
    finally:
        generator.close()


def test_it_is_named_after_the_denoiser_or_lies_in_the_folder(shelf: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(shelf / "base", tmp_path / "whole")
    shutil.copyfile(shelf / "t5-encoder-Q8_0.gguf", whole / "text_encoder_2/any.gguf")
    names = ("denoiser.safetensors", "t5-encoder-Q8_0.gguf")
    want = _drawn(_spec(shelf / "meant", "model_index.json"))[0]
    plain = _drawn(_spec(shelf / "plain", "model_index.json"))[0]
    specs = [
        _spec(shelf, *names, base=str(shelf / "base")),
        _spec(shelf, *names, base=str(shelf / "plain")),  # in the place of what lies there
        _spec(whole, "model_index.json"),
        _spec(shelf, "denoiser.safetensors", base=str(whole)),
    ]
    drawn = [_drawn(spec) for spec in specs]
    assert [int(abs(picture - want).max()) <= 1 for picture, _ in drawn] == [True] * 4
    assert abs(plain - want).max() <= 8  # Q8_0's rounding
    assert len({info["model_sha256"] for _, info in drawn}) == 4
    # With the denoiser in 8 bits it stays as it is.
    assert _drawn(specs[0], memory="fp8")[0].shape == want.shape


def test_its_real_bytes_are_planned_with(shelf: Path) -> None:
    size = (shelf / "t5-encoder-Q8_0.gguf").stat().st_size
    spec = _spec(shelf, "denoiser.safetensors", "t5-encoder-Q8_0.gguf", base=str(shelf / "plain"))
    alone = _spec(shelf, "denoiser.safetensors", base=str(shelf / "plain"))
    full = (shelf / "plain/text_encoder_2/model.safetensors").stat().st_size
    assert weights_of(alone)[0] - weights_of(spec)[0] == full - size
    assert weights_of(spec)[1] == weights_of(alone)[1]


def test_another_file_of_the_same_name_is_another_model(shelf: Path, tmp_path: Path) -> None:
    for name in ("denoiser.safetensors", "t5-encoder-Q8_0.gguf"):
        shutil.copyfile(shelf / name, tmp_path / name)
    spec = _spec(tmp_path, "denoiser.safetensors", "t5-encoder-Q8_0.gguf", base=str(shelf / "base"))
    cache, before = tmp_path / "cache.json", fingerprint(spec, tmp_path / "cache.json")
    torch.manual_seed(5)
    write_text_encoder(tmp_path / "t5-encoder-Q8_0.gguf", tiny.t5(), "t5encoder")
    assert fingerprint(spec, cache) != before


def test_pictures_are_not_for_a_file_without_eyes(tmp_path: Path) -> None:
    pipeline = made("qwen-image-2.1")
    pipeline.save_pretrained(tmp_path / "it")
    write_text_encoder(tmp_path / "it/text_encoder/it.gguf", pipeline.text_encoder, "qwen3vl", "F16")
    (tmp_path / "it/text_encoder/model.safetensors").unlink()
    spec = Catalogue().resolve(str(tmp_path / "it"), Kind.GENERATE)
    generator = Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32"))
    params = {"prompt": "a cat", "seed": 7, "width": 64, "height": 64, "steps": 1}
    generator.draw_one(params)
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    with pytest.raises(BadInput, match="nothing that sees pictures"):
        generator.draw_one({**params, "init_image": str(tmp_path / "a.png")})
    generator.draw_one(params)


# --- what is refused ------------------------------------------------------------------------------


def test_what_does_not_fit_is_said_by_name(shelf: Path, tmp_path: Path) -> None:
    def says(message: str, *files: str, kind: type[Exception] = UsageError, place: Path = tmp_path) -> None:
        with pytest.raises(kind, match=message):
            _drawn(_spec(place, *files, base=str(shelf / "base")))

    for name in ("denoiser.safetensors", "t5-encoder-Q8_0.gguf"):
        shutil.copyfile(shelf / name, tmp_path / name)
    qwen = _awake(_NETWORKS["qwen3"]())
    write_text_encoder(tmp_path / "qwen.gguf", qwen, "qwen3")
    write_text_encoder(tmp_path / "other.gguf", qwen, "gpt-oss")
    write_text_encoder(tmp_path / "wide.gguf", _t5("relu"), "t5encoder")
    write_text_encoder(tmp_path / "gated.gguf", _t5(), "t5encoder")
    extra = {"enc.blk.7.attn_q.weight": np.zeros((4, 4), np.float32)}
    write_text_encoder(tmp_path / "long.gguf", tiny.t5(), "t5encoder", more=extra)
    says(
        "architecture qwen3, which .* has no part for .it has clip_text_model and t5",
        "denoiser.safetensors",
        "qwen.gguf",
    )
    says("architecture gpt-oss, and no text encoder of that is read", "denoiser.safetensors", "other.gguf")
    says(r"shared.weight is \(264, 64\) in it, and \(300, 32\) there", "denoiser.safetensors", "wide.gguf")
    says(r"it has enc.blk.0.ffn_gate.weight, which is nowhere", "denoiser.safetensors", "gated.gguf")
    says(r"it has enc.blk.7.attn_q.weight, which is nowhere", "denoiser.safetensors", "long.gguf")
    says("is a text encoder .t5encoder., not a denoiser", "t5-encoder-Q8_0.gguf", "qwen.gguf")
    says("has no weights in text_encoder_2", "denoiser.safetensors")
    cut = tmp_path / "t5-encoder-Q8_0.gguf"
    cut.write_bytes(cut.read_bytes()[:-3000])
    says("cannot be read", "denoiser.safetensors", cut.name, kind=ModelDamaged)
    cut.write_bytes(cut.read_bytes()[:100])
    says("cannot be read", "denoiser.safetensors", cut.name, kind=ModelDamaged)


def test_of_two_in_one_folder_none_is_taken(shelf: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shelf / "base", tmp_path / "base")
    for name in ("a.gguf", "b.gguf"):
        shutil.copyfile(shelf / "t5-encoder-Q8_0.gguf", folder / "text_encoder_2" / name)
    with pytest.raises(UsageError, match=r"has a\.gguf and b\.gguf"):
        read_encoders(folder, {}, torch.float32)
