"""ViT-L/14 and the heads on it: LAION's real head, towers with seeded random weights."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers
from PIL import Image, ImageOps
from safetensors.torch import save_file

from hotfolder.bench.weights import save_random_clip, save_random_head
from hotfolder.core.gate import ALL_PRECISE
from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.engines.scoring import clip
from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.ensemble import Judgement, ScorerEnsemble
from hotfolder.engines.scoring.laion import HeadScorer, golden_embedding, load_head
from hotfolder.errors import DeviceTrouble, ModelDamaged
from hotfolder.models import heads, registry
from hotfolder.models.registry import Catalogue
from hotfolder.types import Batch, Item, Kind, Outcome, Precise, Progress, RunnerSettings
from tests.support.varied import varied_pictures

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
HEAD = "sac+logos+ava1-l14-linearMSE.pth"
TOWER = "clip-vit-l-14.safetensors"
#: github.com/christophschuhmann/improved-aesthetic-predictor on ten real embeddings.
GOLDEN = (1.65548, 2.35927, 3.06982, 3.67245, 4.23801, 4.70102, 5.07305, 5.36536, 5.57666, 5.74676)


@pytest.fixture(scope="module")
def models(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model folder: a whole CLIP ViT-L/14 with random weights in open_clip's layout, and the real head."""
    folder = tmp_path_factory.mktemp("models")
    save_random_clip(folder, with_text=True)
    (folder / HEAD).symlink_to(real_weights / HEAD)
    yield folder
    (folder / TOWER).unlink()  # 0.85 GB


def load(formula: str, folder: Path, **settings: object) -> ScorerEnsemble:
    """In float32, unless a test is about another precision: never in what this machine happens to prefer."""
    runner = RunnerSettings(model_folders=(str(folder),), precision="float32")
    return ScorerEnsemble.load(formula, replace(runner, **settings), CPU)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full(models: Path) -> ScorerEnsemble:
    """`laion-v2` in float32: 1.2 GB, so loaded once."""
    return load("laion-v2", models)


def values(ensemble: ScorerEnsemble, images: list[Image.Image]) -> list[float]:
    return [judged.score.value for judged in ensemble.judge(images)]


# --- heads ---------------------------------------------------------------------------------------


def test_the_golden_embeddings_give_the_golden_scores(real_weights: Path) -> None:
    ((weight, bias),) = load_head(real_weights / HEAD)
    embeddings = torch.from_numpy(np.load(real_weights / "laion-golden-embeddings.npz")["embeddings"])
    scores = torch.nn.functional.linear(torch.nn.functional.normalize(embeddings, dim=-1), weight, bias)
    assert np.allclose(scores.squeeze(-1).numpy(), GOLDEN, rtol=0, atol=1e-5)


def test_collapsing_the_layers_changes_nothing(real_weights: Path) -> None:
    state = torch.load(real_weights / HEAD, map_location="cpu", weights_only=True)
    x = golden_embedding()[None]
    for number in (0, 2, 4, 6, 7):
        x = torch.nn.functional.linear(x, state[f"layers.{number}.weight"], state[f"layers.{number}.bias"])
    ((weight, bias),) = load_head(real_weights / HEAD)
    assert float(torch.nn.functional.linear(golden_embedding()[None], weight, bias)) == pytest.approx(
        float(x), abs=1e-5
    )


def save_layers(path: Path, numbers: list[int], widths: list[int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = {}
    for number, inward, outward in zip(numbers, widths, widths[1:], strict=False):
        state[f"layers.{number}.weight"] = torch.randn(outward, inward) / inward**0.5
        state[f"layers.{number}.bias"] = torch.randn(outward)
    save_file(state, path)
    return state


def test_a_head_with_activations_between_its_layers_keeps_them(tmp_path: Path) -> None:
    path, numbers = tmp_path / "relu.safetensors", [0, 3, 6, 9, 11]
    state = save_layers(path, numbers, [768, 1024, 128, 64, 16, 1])
    scorer = HeadScorer.__new__(HeadScorer)
    scorer._layers = load_head(path)
    x = torch.nn.functional.normalize(torch.randn(6, 768), dim=-1)
    expected = x
    for number in numbers:
        expected = torch.nn.functional.linear(
            expected.relu() if number else expected,
            state[f"layers.{number}.weight"],
            state[f"layers.{number}.bias"],
        )
    assert len(scorer._layers) == 5
    assert torch.allclose(scorer.rate(x), expected.squeeze(1), atol=1e-5)


@pytest.mark.parametrize("widths", [[512, 1], [768, 2], [768, 64, 32, 2]])
def test_what_is_no_head_for_this_tower_is_refused(tmp_path: Path, widths: list[int]) -> None:
    save_layers(tmp_path / "x.safetensors", list(range(0, 20, 2)), widths)
    with pytest.raises(ModelDamaged, match="not a head from 768"):
        load_head(tmp_path / "x.safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04broken", pickle.dumps([1, 2])])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_damaged_head_is_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"head{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match="cannot be read as a head"):
        load_head(path)


@pytest.mark.parametrize(
    "state", [{"state_dict": 3}, {"state_dict": [1, 2]}, {1: torch.zeros(1)}, [torch.zeros(1)]]
)
def test_a_file_of_torch_with_anything_else_in_it_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(ModelDamaged):
        load_head(tmp_path / "head.pth")


@pytest.mark.parametrize("size", [1, 3])
def test_a_bias_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    state = {"0.weight": torch.zeros(2, 768), "0.bias": torch.zeros(size)}
    save_file({**state, "2.weight": torch.zeros(1, 2), "2.bias": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelDamaged, match="not a head from 768"):
        load_head(tmp_path / "x.safetensors")


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_head_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    torch.save({"weight": torch.zeros(1, 768), "bias": Attack(mark)}, tmp_path / "head.pth")
    with pytest.raises(ModelDamaged, match="cannot be read as a head"):
        load_head(tmp_path / "head.pth")
    assert not mark.exists()


def test_another_head_is_refused(tmp_path: Path, real_weights: Path) -> None:
    (tmp_path / HEAD).write_bytes((real_weights / HEAD).read_bytes()[:-1] + b"x")
    (tmp_path / TOWER).write_bytes(b"")
    with pytest.raises(ModelDamaged, match="is not the file"):
        load("laion-v2", tmp_path)


def test_a_head_that_does_not_give_the_golden_score_is_refused(models: Path) -> None:
    spec = Catalogue((str(models),)).resolve("laion-v2", Kind.SCORE)
    spec = replace(spec, golden={**spec.golden, "score": spec.golden["score"] + 0.001})
    with pytest.raises(ModelDamaged, match="golden embedding"):
        HeadScorer(spec, Bench(CPU, torch.float32, RunnerSettings(), {}))


# --- what the tower sees -------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [clip.centre_crop, clip.letterbox])
@pytest.mark.parametrize(
    "size", [(224, 224), (1, 1), (223, 1000), (640, 225), (3000, 10), (1, 65_535), (65_535, 3)]
)
def test_every_size_becomes_the_towers_input(size: tuple[int, int], crop: object) -> None:
    view = crop(Image.new("RGB", size, (10, 20, 30)))  # type: ignore[operator]
    assert view.shape == (224, 224, 3)
    middle = view[111, 111] if crop is clip.letterbox else view
    assert (middle == [10, 20, 30]).all()


def test_long_pictures_are_cropped_first_and_look_the_same() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 700, 3), dtype=np.uint8))
    whole = image.resize((int(224 * 700 / 30), 224), Image.Resampling.BICUBIC)
    left = round((whole.width - 224) / 2)
    expected = np.asarray(whole.crop((left, 0, left + 224, 224))).astype(int)
    assert abs(clip.centre_crop(image).astype(int) - expected).max() <= 1


def test_a_letterbox_leaves_nothing_out() -> None:
    image = Image.new("RGB", (400, 100), "black")
    image.paste("white", (0, 0, 20, 100))
    view = clip.letterbox(image)
    assert (view[112, 3] == 255).all()
    assert (view[112, 100] == 0).all()
    assert (view[10, 10] == [123, 117, 104]).all()
    assert (clip.centre_crop(image) == 0).all()


def test_preprocessing_is_that_of_the_field() -> None:
    _, _, reference = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None, load_weights=False)
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (clip.MEAN, clip.STD))
    for image in varied_pictures(12):
        theirs = reference(image).numpy() * std + mean  # type: ignore[operator]
        rounding = 1.0 if max(image.size) > clip._LONG * min(image.size) else 0.01  # levels
        ours = clip.centre_crop(image).transpose(2, 0, 1)
        assert abs(ours - theirs * 255).max() <= rounding + 0.01, image.size


# --- the tower -----------------------------------------------------------------------------------


def to_transformers(tower: torch.nn.Module, folder: Path) -> transformers.CLIPModel:
    """The same weights in a CLIPModel, saved as transformers saves them. The text tower is a small one."""
    config = transformers.CLIPConfig(
        projection_dim=768,
        text_config={"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "vocab_size": 100},
        vision_config={
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
            "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu",
        },
    )  # fmt: skip
    with torch.device("meta"):  # filling it with random numbers first would take seconds
        model = transformers.CLIPModel(config).eval()
    model.to_empty(device="cpu")
    for part in (model.vision_model.embeddings, model.text_model.embeddings):  # buffers that no file has
        part.position_ids = torch.arange(part.position_ids.shape[-1])[None]
    ours, theirs = tower.state_dict(), model.state_dict()
    place = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    place["attn.out_proj"] = "self_attn.out_proj"
    for layer in range(24):
        there, here = f"vision_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for last in ("weight", "bias"):
            for source, target in place.items():
                theirs[f"{there}.{target}.{last}"] = ours[f"{here}.{source}.{last}"]
            for which, rows in zip("qkv", ours[f"{here}.attn.in_proj_{last}"].chunk(3), strict=True):
                theirs[f"{there}.self_attn.{which}_proj.{last}"] = rows.clone()
    theirs["vision_model.embeddings.class_embedding"] = ours["class_embedding"]
    theirs["vision_model.embeddings.patch_embedding.weight"] = ours["conv1.weight"]
    theirs["vision_model.embeddings.position_embedding.weight"] = ours["positional_embedding"]
    for last in ("weight", "bias"):
        theirs[f"vision_model.pre_layrnorm.{last}"] = ours[f"ln_pre.{last}"]
        theirs[f"vision_model.post_layernorm.{last}"] = ours[f"ln_post.{last}"]
    theirs["visual_projection.weight"] = ours["proj"].T.clone()
    model.load_state_dict(theirs)
    model.save_pretrained(folder)
    return model


@torch.inference_mode()
def test_scores_are_those_of_transformers_from_either_layout(
    models: Path, full: ScorerEnsemble, tmp_path: Path
) -> None:
    images = varied_pictures(4)  # one of each kind; all that the tower sees is 224 x 224 pixels
    scores = values(full, images)
    model = to_transformers(clip.build_tower(models / TOWER).float(), tmp_path / "hf")
    ((weight, bias),) = load_head(models / HEAD)
    # The same pixels, so without its resizing, which differs from Pillow's by a level here and there.
    processor = transformers.CLIPImageProcessor(do_resize=False, do_center_crop=False)
    pixels = processor(images=[clip.centre_crop(image) for image in images], return_tensors="pt")["pixel_values"]
    hidden = model.vision_model(pixel_values=pixels).pooler_output
    embeddings = torch.nn.functional.normalize(model.visual_projection(hidden), dim=-1)
    expected = torch.nn.functional.linear(embeddings, weight, bias).squeeze(1).tolist()
    assert np.ptp(expected) > 0.3  # else agreement would mean nothing
    assert np.allclose(scores, expected, rtol=0, atol=1e-3)
    del model

    other = tmp_path / "models"
    other.mkdir()
    (tmp_path / "hf/model.safetensors").rename(other / TOWER)
    (other / HEAD).symlink_to(models / HEAD)
    from_theirs = load("laion-v2", other)
    assert np.allclose(values(from_theirs, images[:2]), scores[:2], rtol=0, atol=1e-4)
    (other / TOWER).unlink()


def test_bfloat16_stays_within_its_bound(models: Path, full: ScorerEnsemble) -> None:
    images = varied_pictures(3)
    half = load("laion-v2", models, precision="bfloat16")
    off = np.abs(np.array(values(half, images)) - values(full, images))
    assert off.max() <= 0.005
    assert off.max() > 0  # else it was no other precision
    assert half.judge(images[:1])[0].score.precision == "bfloat16"
    scorer = half._scorers["laion-v2"]
    assert scorer.slope * scorer.encoder.half_error == pytest.approx(0.005, rel=0.01)


def test_near_a_threshold_bfloat16_gives_float32s_score(models: Path, full: ScorerEnsemble) -> None:
    image = varied_pictures(1)[0]
    (exact,) = values(full, [image])
    half = load("laion-v2", models, precision="bfloat16")
    for precise in (Precise((exact + 1e-4,)), ALL_PRECISE):
        (found,) = half.finish(half.start([half.look(image, None, precise)]))
        assert isinstance(found, Judgement)
        assert found.score.precision == "float32"
        assert found.score.value == pytest.approx(exact, abs=1e-5)


def test_float16_on_a_cpu_is_refused(models: Path) -> None:
    with pytest.raises(DeviceTrouble, match="unusably slow"):
        load("laion-v2", models, precision="float16")


def test_every_scorer_of_the_family_on_one_look(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    folder = tmp_path / "models"
    folder.mkdir()
    for name in (TOWER, HEAD):
        (folder / name).symlink_to(models / name)
    torch.save(torch.nn.Linear(768, 1).state_dict(), folder / "sa_0_4_vit_l_14_linear.pth")
    mine = save_random_head(tmp_path / "with space")
    looks = []
    embed = clip.ClipEncoder.embed
    monkeypatch.setattr(
        clip.ClipEncoder, "embed", lambda self, views: looks.append(len(views)) or embed(self, views)
    )
    ensemble = load(
        f"0.5*laion-v2 + 0.5*'{mine}'", folder, scorers=("laion-v1", "clip-prompt", "technical"),
        positive=("Good photo.", "Sharp."), negative=("Bad photo.", "Blurry."),
    )  # fmt: skip
    assert len(ensemble.encoders) == 2
    (judged,) = ensemble.judge([draw_landscape(2)])
    by_name = {part.scorer: part.value for part in judged.parts}
    assert set(by_name) == {"laion-v2", str(mine), "laion-v1", "clip-prompt", "technical"}
    assert judged.score.value == pytest.approx((by_name["laion-v2"] + by_name[str(mine)]) / 2, abs=1e-5)
    assert sum(looks) == 1
    assert 1 <= by_name["clip-prompt"] <= 10
    versions = {part.weights_sha256 for part in judged.parts}
    assert len(versions) == 5


@pytest.fixture(scope="module")
def logits(models: Path) -> torch.Tensor:
    """What open_clip itself finds: how like the words a, b, c and d a picture is, on the same weights."""
    model = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None, load_weights=False).eval()
    model.load_state_dict({k: v.float() for k, v in clip.read_weights(models / TOWER).items()})
    view = torch.from_numpy(clip.centre_crop(draw_landscape(2)).copy()).permute(2, 0, 1).float()[None] / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (clip.MEAN, clip.STD))
    with torch.inference_mode():
        seen = model.encode_image((view - mean) / std, normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer("ViT-L-14")(["a", "b", "c", "d"]), normalize=True)
    return (100 * seen @ texts.T)[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_clip_prompt_tells_like_from_unlike(models: Path, logits: torch.Tensor, precision: str) -> None:
    """Against the formula, with open_clip's own text encoder on the same weights."""
    ensemble = load("clip-prompt", models, positive=("a", "b"), negative=("c", "d"), precision=precision)
    (judged,) = ensemble.judge([draw_landscape(2)])
    pairs = [torch.softmax(logits[[i, i + 2]], 0)[0].item() for i in range(2)]
    scorer = ensemble._scorers["clip-prompt"]
    bound = 1e-3 if precision == "float32" else scorer.slope * scorer.encoder.half_error
    assert bound < 0.1
    assert judged.score.value == pytest.approx(1 + 9 * sum(pairs) / 2, abs=bound)


def test_words_lie_where_the_pictures_do(models: Path) -> None:
    """Through the runner, as `search --by picture` asks; a scorer without CLIP knows no words."""
    found: list[Outcome] = []
    runner = ModelRunner(RunnerSettings(model_folders=(str(models),), precision="float32", device="cpu"))
    item = Item(1, 1, None, "", {"words": "a red car"})

    def emit(event: Outcome | Progress) -> None:
        if isinstance(event, Outcome):
            found.append(event)

    for number, scorer in enumerate(("laion-v2", "technical")):
        runner.work(Batch(number, Kind.SCORE, scorer, (item,)), emit, lambda: False)
    runner.close()
    seen, nothing = found
    assert nothing.embeddings == () and nothing.error is None
    (embedding,) = seen.embeddings
    expected = clip.embed_texts(models / TOWER, ["a red car"])[0]
    vector = np.frombuffer(base64.b64decode(embedding.vector), "<f2").astype(np.float32)
    assert embedding.encoder.startswith("clip-vit-l-14/")
    assert np.abs(vector - expected.numpy()).max() < 1e-3


def test_a_tower_without_quickgelu_is_refused(models: Path) -> None:
    with pytest.raises(ModelDamaged, match="without QuickGELU"):
        clip.build_tower(models / TOWER, replace(clip.L14, config="ViT-L-14"))


def test_another_tower_is_refused(tmp_path: Path) -> None:
    small = open_clip.create_model("ViT-B-32", pretrained=None, load_weights=False).state_dict()
    save_file({k: v.half().contiguous() for k, v in small.items()}, tmp_path / TOWER)
    with pytest.raises(ModelDamaged, match="does not hold ViT-L/14"):
        clip.build_tower(tmp_path / TOWER)
    (tmp_path / TOWER).write_bytes(b"PK\x03\x04 a TorchScript archive")
    with pytest.raises(ModelDamaged, match="cannot be read as safetensors"):
        clip.build_tower(tmp_path / TOWER)


# --- the same picture in other files -------------------------------------------------------------


def save_variants(folder: Path) -> dict[str, Path]:
    """One picture of few colours in every format that keeps its pixels."""
    image = draw_landscape(4).resize((300, 200)).quantize(200).convert("RGB")
    levels = np.asarray(image)
    found = {name: folder / name for name in ("a.png", "a.webp", "a.tif", "p.png", "rotated.png", "alpha.png")}
    image.save(found["a.png"])
    image.save(found["a.webp"], lossless=True)
    image.save(found["a.tif"], compression="tiff_lzw")
    image.quantize(256, dither=Image.Dither.NONE).save(found["p.png"])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(found["rotated.png"], exif=exif)
    opaque = image.copy()
    opaque.putalpha(255)
    opaque.save(found["alpha.png"])
    assert (np.asarray(Image.open(found["p.png"]).convert("RGB")) == levels).all()
    assert (np.asarray(ImageOps.exif_transpose(Image.open(found["rotated.png"]))) == levels).all()
    return found


def write_png16(path: Path, levels: np.ndarray) -> Path:
    """16 bits a channel, grey or RGB: Pillow cannot write the latter."""
    import struct
    import zlib

    deep = (levels.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2 if levels.ndim == 3 else 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("formula", ["technical", "laion-v2"])
def test_the_same_pixels_in_any_file_have_the_same_score(
    formula: str, models: Path, full: ScorerEnsemble, tmp_path: Path
) -> None:
    from tests.engines.test_scoring import judge_files

    ensemble = full if formula == "laion-v2" else load(formula, models)
    paths = save_variants(tmp_path)
    paths["16.png"] = write_png16(tmp_path / "16.png", np.asarray(Image.open(paths["a.png"])))
    found = judge_files(ensemble, list(paths.values()))
    scores = {name: found[n].score.value for n, name in enumerate(paths)}  # type: ignore[union-attr]
    assert scores == pytest.approx(dict.fromkeys(paths, scores["a.png"]), abs=1e-3)
    grey = Image.open(paths["a.png"]).convert("L")
    grey.save(tmp_path / "grey.png")
    write_png16(tmp_path / "grey16.png", np.asarray(grey))
    a, b = judge_files(ensemble, [tmp_path / "grey.png", tmp_path / "grey16.png"]).values()
    assert a.score.value == pytest.approx(b.score.value, abs=1e-3)  # type: ignore[union-attr]


def test_the_registry_knows_the_family() -> None:
    entries = {entry.name: entry for entry in Catalogue().entries()}
    scorers = {name for name, entry in entries.items() if entry.kind == "score"}
    assert scorers == {
        "technical", "laion-v2", "laion-v1", "clip-prompt", "clip-align", "laion-safety", "pickscore", "q-realign",
        "q-realign-quality",
    }  # fmt: skip
    assert {entries[name].kind for name in heads.ENCODER_OF.values()} == {registry.ENCODER}
    told = [entry for entry in entries.values() if entry.kind in ("score", registry.ENCODER)]
    assert all(entry.licence and entry.about for entry in told)
    # What it takes: of those that have files of their own, the built-in one apart.
    assert all(entry.memory_mb for entry in told if entry.files)
