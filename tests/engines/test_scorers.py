"""Scorers against what their authors published: the real architectures, small, with seeded random weights."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import pytest
import tomli
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken

from hotfolder.core import formula
from hotfolder.core.gate import ALL_PRECISE
from hotfolder.engines.scoring import clip, load_scorer
from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.ensemble import Judgement, ScorerEnsemble
from hotfolder.engines.scoring.q_realign import LevelEncoder
from hotfolder.errors import BadInput, ModelDamaged
from hotfolder.models import entry as entries
from hotfolder.models.registry import Catalogue, ModelFile, ModelSpec
from hotfolder.types import Kind, Precise, Remembered, RunnerSettings
from tests.support.standin import StandInEncoder
from tests.support.tiny_families import QWEN_IDS, qwen_tokenizer
from tests.support.varied import varied_pictures
from tools.builtin.renders import draw_scene

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
PROMPT = "a red barn beside a lake, at dusk"
CLOSE = 1e-3
DOCS = Path(__file__).resolve().parents[2] / "docs/scoring.md"


def pictures() -> list[Image.Image]:
    """Twenty that have little in common."""
    return [*varied_pictures(12), *(draw_scene(seed, 128 + 40 * seed) for seed in range(8))]


def load(text: str, folder: Path, precision: str = "float32", **settings: Any) -> ScorerEnsemble:
    runner = RunnerSettings(model_folders=(str(folder),), precision=precision, **settings)
    return ScorerEnsemble.load(text, runner, CPU)


def values(ensemble: ScorerEnsemble, images: list[Image.Image], prompt: str | None = None) -> np.ndarray[Any, Any]:
    return np.array([judged.score.value for judged in ensemble.judge(images, prompt)])


def check(
    ensemble: ScorerEnsemble, expected: list[float], prompt: str | None = None, spread: float = 0.01
) -> None:
    found = values(ensemble, pictures(), prompt)
    assert np.ptp(expected) > spread  # else agreement would mean nothing
    assert np.abs(found - expected).max() <= CLOSE


def check_half(text: str, folder: Path, prompt: str | None = None) -> None:
    """In bfloat16 within the bound that near-threshold scores are taken again by; and they are."""
    images = pictures()[:8]
    half = load(text, folder, "bfloat16")
    (scorer,) = half._judges(prompt).values()
    exact = values(load(text, folder), images, prompt)
    off = np.abs(values(half, images, prompt) - exact)
    assert 0 < off.max() <= scorer.slope * scorer.encoder.half_error
    for precise in (Precise((exact[0] + 1e-5,)), ALL_PRECISE):
        (found,) = half.finish(half.start([half.look(images[0], None, precise, prompt)]))
        assert isinstance(found, Judgement)
        assert found.score.precision == "float32"
        assert found.score.value == pytest.approx(exact[0], abs=1e-4)


def check_stored(text: str, folder: Path, prompt: str | None = None) -> None:
    """From a stored embedding, without the picture: within what is allowed for float16."""
    ensemble = load(text, folder)
    (slope,) = (scorer.slope for scorer in ensemble._judges(prompt).values())
    for image in pictures()[:4]:
        (judged,) = ensemble.judge([image], prompt)
        known = Remembered(*image.size, (), judged.embeddings)
        (again,) = ensemble.finish(ensemble.start([ensemble.look(None, known, prompt=prompt)]))
        assert isinstance(again, Judgement)
        assert again.score.precision == "stored-float16"
        assert again.score.value == pytest.approx(judged.score.value, abs=max(1e-3, 1e-3 / 18 * slope))


# --- CLIP ----------------------------------------------------------------------------------------


def small_clip(monkeypatch: pytest.MonkeyPatch, path: Path, config: str, activation: str, width: int) -> Any:
    """A CLIPModel of transformers, saved; and open_clip's architecture of this name is as small."""
    torch.manual_seed(3)
    both: dict[str, Any] = {"hidden_act": activation, "num_hidden_layers": 2}
    text = {**both, "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2, "eos_token_id": 49407}
    vision = {**both, "hidden_size": 96, "intermediate_size": 384, "num_attention_heads": 3, "patch_size": 32}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text, vision_config=vision, projection_dim=width, logit_scale_init_value=np.log(100)
        )
    ).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path.parent / "saved")
    (path.parent / "saved/model.safetensors").rename(path)
    small = {
        "embed_dim": width, "quick_gelu": activation == "quick_gelu",
        "vision_cfg": {"image_size": 224, "layers": 2, "width": 96, "head_width": 32, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }  # fmt: skip
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, config, small)
    return model


@torch.inference_mode()
def cosines(model: Any, prompt: str) -> torch.Tensor:
    """As PickScore's and CLIPScore's authors compute them, with transformers."""
    ids = open_clip.get_tokenizer("ViT-L-14")([prompt])
    words = F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)
    return seen_by(model) @ words[0]


@torch.inference_mode()
def seen_by(model: Any) -> torch.Tensor:
    # The same pixels, so without its resizing, which differs from Pillow's by a level here and there.
    processor = transformers.CLIPImageProcessor(do_resize=False, do_center_crop=False)
    pixels = processor(images=[clip.centre_crop(each) for each in pictures()], return_tensors="pt")["pixel_values"]
    return F.normalize(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output), dim=-1)


@pytest.fixture
def clip_l(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "clip-vit-l-14/clip-vit-l-14.safetensors"
    return small_clip(monkeypatch, path, "ViT-L-14-quickgelu", "quick_gelu", 768)


@pytest.fixture
def clip_h(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return small_clip(
        monkeypatch, tmp_path / "pickscore-clip-h/pickscore-v1.safetensors", "ViT-H-14", "gelu", 1024
    )


def test_clip_align_is_the_cosine(clip_l: Any, tmp_path: Path) -> None:
    expected = 1 + 9 * (cosines(clip_l, PROMPT) - 0.10) / 0.25
    check(load("clip-align", tmp_path), expected.tolist(), PROMPT)
    check_half("clip-align", tmp_path, PROMPT)
    check_stored("clip-align", tmp_path, PROMPT)


def test_the_registry_says_which_scorers_need_a_prompt(clip_l: Any, clip_h: Any, tmp_path: Path) -> None:
    torch.save(Published().state_dict(), tmp_path / "clip_ViT-L-14_openai_binary_nsfw_head.pth")
    ensemble = load("clip-align + pickscore + laion-safety", tmp_path)
    for name in ("clip-align", "pickscore", "laion-safety"):
        entry = Catalogue().entry(name)
        assert entry is not None
        assert entry.needs_prompt == (name in ensemble._prompted)


def test_clip_align_beside_laion_is_no_second_look(
    clip_l: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    save_file({"weight": torch.randn(1, 768), "bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    looks = []
    embed = clip.ClipEncoder.embed
    monkeypatch.setattr(
        clip.ClipEncoder, "embed", lambda self, views: looks.append(len(views)) or embed(self, views)
    )
    head = formula.of(str(tmp_path / "head.safetensors")).text
    ensemble = load(f"0.5*{head} + 0.5*clip-align", tmp_path)
    (judged,) = ensemble.judge(pictures()[:1], PROMPT)
    assert [len(ensemble.encoders), sum(looks), len(judged.parts)] == [1, 1, 2]


def test_pickscore_is_the_published_one(clip_h: Any, tmp_path: Path) -> None:
    expected = clip_h.logit_scale.exp().item() * cosines(clip_h, PROMPT) - 15
    check(load("pickscore", tmp_path), expected.tolist(), PROMPT)
    check_half("pickscore", tmp_path, PROMPT)
    check_stored("pickscore", tmp_path, PROMPT)


def test_a_long_prompt_is_cut_as_clip_cuts_it(clip_h: Any, tmp_path: Path) -> None:
    long = " ".join(f"word{number}" for number in range(200))
    ids = open_clip.get_tokenizer("ViT-L-14")([long])
    assert ids.shape == (1, 77) and ids[0, -1] == 49407
    expected = clip_h.logit_scale.exp().item() * cosines(clip_h, long) - 15
    check(load("pickscore", tmp_path), expected.tolist(), long)


def test_weights_without_a_text_tower_are_told_of_at_once(clip_h: Any, tmp_path: Path) -> None:
    path = tmp_path / "pickscore-clip-h/pickscore-v1.safetensors"
    state = {key: value for key, value in load_file(path).items() if not key.startswith("text")}
    save_file(state, path)
    with pytest.raises(ModelDamaged, match="no text tower of ViT-H/14"):
        load("pickscore", tmp_path)
    del state["logit_scale"]
    save_file(state, path)
    with pytest.raises(ModelDamaged, match="logit_scale"):
        load("pickscore", tmp_path)


class Published(torch.nn.Module):
    """LAION's NSFWModel_L14 (CLIP-based-NSFW-Detector, src/models.py), by its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.Module()
        self.norm.register_buffer("mean", torch.randn(768) * 0.03)
        self.norm.register_buffer("variance", torch.rand(768) * 1e-3 + 1e-4)
        for number, (inward, outward) in enumerate(((768, 64), (64, 512), (512, 256), (256, 1)), 1):
            setattr(self, f"linear_{number}", torch.nn.Linear(inward, outward))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - self.norm.mean) / (self.norm.variance.sqrt() + 1e-10)
        for layer in (self.linear_1, self.linear_2, self.linear_3):
            x = torch.relu(layer(x))
        return torch.sigmoid(self.linear_4(x)).squeeze(-1)


def test_laion_safety_is_the_published_head(clip_l: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    head = Published()
    path = tmp_path / "clip_ViT-L-14_openai_binary_nsfw_head.pth"
    torch.save(head.state_dict(), path)
    with torch.inference_mode():
        unsafe = head(seen_by(clip_l))
    check(load("laion-safety", tmp_path), (1 + 9 * (1 - unsafe)).tolist())
    check_half("laion-safety", tmp_path)
    check_stored("laion-safety", tmp_path)
    torch.save({"norm.mean": torch.zeros(512)}, path)
    with pytest.raises(ModelDamaged, match="not LAION's head"):
        load("laion-safety", tmp_path)


# --- SigLIP --------------------------------------------------------------------------------------


def small_siglip(folder: Path) -> Any:
    """So400m with two thin layers, saved as the whole model is: with its text tower."""
    torch.manual_seed(5)
    both: dict[str, Any] = {"num_hidden_layers": 2, "intermediate_size": 48}
    text = {**both, "hidden_size": 32, "num_attention_heads": 2, "vocab_size": 100, "projection_size": 1152}
    vision = {**both, "hidden_size": 1152, "num_attention_heads": 16, "image_size": 56, "patch_size": 14}
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision)).eval()
    model.save_pretrained(folder)
    return model


def test_a_head_by_path_on_siglip_is_the_published_predictor(tmp_path: Path) -> None:
    model = small_siglip(tmp_path / "siglip-so400m-384")
    torch.manual_seed(6)
    # aesthetic-predictor-v2.5, siglip_v2_5.py: AestheticPredictorV2_5Head.
    widths, layers = (1152, 1024, 128, 64, 16, 1), []
    for inward, outward in itertools.pairwise(widths):
        layers += [torch.nn.Linear(inward, outward), torch.nn.Dropout(0.5)]
    head = torch.nn.Sequential(*layers[:-1]).eval()
    head[0].weight.data *= 20
    state = OrderedDict((f"scoring_head.{key}", value) for key, value in head.state_dict().items())
    torch.save(state, tmp_path / "aesthetic_predictor_v2_5.pth")
    processor = transformers.SiglipImageProcessor(size={"height": 56, "width": 56}, resample=3)
    with torch.inference_mode():
        pixels = processor(images=pictures(), return_tensors="pt")["pixel_values"]
        seen = model.vision_model(pixel_values=pixels).pooler_output
        expected = head(seen / seen.norm(dim=-1, keepdim=True)).squeeze(-1)
    text = formula.of(str(tmp_path / "aesthetic_predictor_v2_5.pth")).text
    check(load(text, tmp_path), expected.tolist())
    check_half(text, tmp_path)
    check_stored(text, tmp_path)


def test_a_folder_that_is_no_siglip_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "siglip-so400m-384"
    small_siglip(folder)
    save_file({"weight": torch.zeros(1, 1152), "bias": torch.zeros(1)}, tmp_path / "head.safetensors")
    text = formula.of(str(tmp_path / "head.safetensors")).text
    state = load_file(folder / "model.safetensors")
    del state["vision_model.head.probe"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ModelDamaged, match=r"head\.probe is missing"):
        load(text, tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelDamaged, match="does not hold SigLIP"):
        load(text, tmp_path)


# --- Q-ReAlign -----------------------------------------------------------------------------------

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LEVELS, WEIGHTS = ["excellent", "good", "fair", "poor", "bad"], [1.0, 0.75, 0.5, 0.25, 0.0]


def small_qwen(folder: Path) -> Any:
    """Qwen3.5 with one layer of each sort, and a tokenizer of bytes that knows the five words."""
    torch.manual_seed(7)
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens([AddedToken(f" {word}", special=False) for word in LEVELS])
    size = {"shortest_edge": 64 * 64, "longest_edge": 16 * 64 * 64}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(patch_size=16, size=size), tokenizer,
        transformers.Qwen3VLVideoProcessor(patch_size=16), chat_template=TEMPLATE,
    )  # fmt: skip
    config = transformers.Qwen3_5Config(
        text_config={
            "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "linear_key_head_dim": 16,
            "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
            "layer_types": ["linear_attention", "full_attention"], "initializer_range": 0.2,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
                "mrope_section": [4, 2, 2], "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64,
            "num_position_embeddings": 64, "initializer_range": 0.2,
        },
        **QWEN_IDS,
    )  # fmt: skip
    model = transformers.Qwen3_5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


@torch.inference_mode()
def quick_run(folder: Path, task: str) -> list[float]:
    """'Quick Run' of github.com/Q-Future/Q-ReAlign, for each picture."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    asked = f"How would you rate the {task} of this image?"
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True) + f"The {task} of the image is"
    ids = [processor.tokenizer(" " + w, add_special_tokens=False).input_ids[0] for w in LEVELS]
    found = []
    for image in pictures():
        inputs = processor(text=[text], images=[image], return_tensors="pt")
        probs = model(**inputs).logits[0, -1, ids].softmax(-1)
        found.append((probs * torch.tensor(WEIGHTS)).sum().item())
    return found


@pytest.mark.parametrize(("name", "task"), [("q-realign", "aesthetics"), ("q-realign-quality", "quality")])
def test_q_realign_is_the_published_quick_run(name: str, task: str, tmp_path: Path) -> None:
    folder = tmp_path / "q-realign-mini"
    small_qwen(folder)
    expected = [1 + 9 * share for share in quick_run(folder, task)]
    check(load(name, tmp_path, "bfloat16"), expected)  # which it does not use: it is in float32
    check_stored(name, tmp_path)


def test_two_questions_share_one_network_and_company_changes_nothing(tmp_path: Path) -> None:
    small_qwen(tmp_path / "q-realign-mini")
    ensemble = load("0.5*q-realign + 0.5*q-realign-quality", tmp_path)
    one, other = ensemble.encoders.values()
    assert isinstance(one, LevelEncoder) and isinstance(other, LevelEncoder)
    assert one.network is other.network
    assert one.id != other.id
    images = [draw_scene(seed, side) for seed, side in ((1, 200), (2, 200), (3, 170), (4, 200))]
    views = [one.prepare(image) for image in images]
    together = one.embed(views)
    alone = torch.cat([one.embed([view]) for view in views])
    assert torch.allclose(together, alone, atol=1e-4)
    with pytest.raises(BadInput, match="200 times"):
        one.prepare(Image.new("RGB", (2010, 10)))


def test_a_folder_that_is_no_q_realign_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "q-realign-mini"
    small_qwen(folder)
    told = json.loads((folder / "tokenizer.json").read_text())
    told["added_tokens"] = [each for each in told["added_tokens"] if each["special"]]
    (folder / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelDamaged, match="no words for the levels"):
        load("q-realign", tmp_path)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelDamaged, match="does not hold Q-ReAlign"):
        load("q-realign", tmp_path)


# --- the example of the documents ----------------------------------------------------------------


def test_the_example_of_the_documents_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCS.read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (registry,) = re.findall(r"^```toml registry.toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    module = ModuleType("hotfolder.engines.scoring.liked")
    exec(compile(code, "liked.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(entries._LOADERS, "score", (*entries._LOADERS["score"], "liked"))
    (fields,) = tomli.loads(registry)["model"]
    (tmp_path / "clip-vit-l-14.safetensors").write_bytes(b"")
    save_file({"mean": torch.tensor([1.0, 1.0, 0.0])}, tmp_path / "liked.safetensors")
    spec = Catalogue((str(tmp_path),), (fields,)).resolve("liked", Kind.SCORE)
    assert isinstance(spec, ModelSpec) and isinstance(spec.files[0], ModelFile)
    eye = StandInEncoder()
    scorer = load_scorer(spec, Bench(CPU, torch.float32, RunnerSettings(), {"clip-vit-l-14": eye}))
    ensemble = ScorerEnsemble("liked", {"liked": scorer}, CPU)
    yellow, blue = Image.new("RGB", (8, 8), (255, 255, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    assert values(ensemble, [yellow, blue]) == pytest.approx([1 + 9 * 2**0.5, 1], abs=1e-5)
    digest = hashlib.sha256((tmp_path / "liked.safetensors").read_bytes()).hexdigest()
    assert scorer.weights_sha256 == hashlib.sha256((digest + eye.weights_sha256).encode()).hexdigest()
