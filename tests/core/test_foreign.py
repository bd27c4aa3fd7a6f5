"""Pictures of other programs: what their files say, as each of them writes it, is a prompt, or a list of what is not.

The texts are in the manner of the programs' own: ComfyUI's example workflows, SwarmUI's and Fooocus's documentation
and code, InvokeAI's CoreMetadata, NovelAI's, Civitai's and Draw Things' pictures. Words and numbers are ours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.core.prompts.foreign.settings import with_guidance
from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.core.prompts.nearest import alike
from hotfolder.core.prompts.recipe import Gap, Recipe, spec_of
from hotfolder.errors import PromptSyntax
from hotfolder.imaging.metadata import read_generation
from hotfolder.types import PromptSpec


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(path.with_suffix(".png"), pnginfo=info)
    return path.with_suffix(".png")


def jpeg(path: Path, comment: str) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def xmp_png(path: Path, comment: str) -> Path:
    """As Draw Things writes it: the whole packet in one iTXt."""
    quoted = comment.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment>\n <rdf:Alt>\n  "
        f'<rdf:li xml:lang="x-default">{quoted}</rdf:li>\n </rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    Image.new("RGB", (8, 8)).save(path.with_suffix(".png"), pnginfo=info)
    return path.with_suffix(".png")


def exif_png(path: Path, comment: str) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(path.with_suffix(".png"), exif=exif.tobytes())
    return path.with_suffix(".png")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def comfy(**nodes: Any) -> str:
    """Numbers are written 'n3'."""
    return json.dumps({key.removeprefix("n"): value for key, value in nodes.items()})


PLAIN: dict[str, Any] = {
    "n3": node(
        "KSampler", seed=1, steps=20, cfg=8, sampler_name="euler", scheduler="normal", denoise=1, model=["4", 0],
        positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
    ),
    "n4": node("CheckpointLoaderSimple", ckpt_name="v1-5.safetensors"),
    "n5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "n6": node("CLIPTextEncode", text="a red [wet] cat", clip=["4", 1]),
    "n7": node("CLIPTextEncode", text="gray", clip=["4", 1]),
    "n8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "n9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
}  # fmt: skip
#: Two encoders, two LoRA, seeds and steps from primitives, a reroute; and a second branch that was only looked at.
SDXL: dict[str, Any] = {
    "n1": node("CheckpointLoaderSimple", ckpt_name="xl\\sd_xl_base_1.0.safetensors"),
    "n2": node(
        "LoraLoader", lora_name="a.safetensors", strength_model=0.5, strength_clip=0.5, model=["1", 0], clip=["1", 1]
    ),
    "n3": node(
        "LoraLoader", lora_name="b.safetensors", strength_model=-1, strength_clip=-1, model=["2", 0], clip=["2", 1]
    ),
    "n4": node("Reroute", **{"": ["3", 0]}),
    "n5": node("PrimitiveInt", value=2**52),
    "n6": node("CLIPTextEncodeSDXL", text_g=["7", 0], text_l=["7", 0], width=1024, height=1024, clip=["3", 1]),
    "n7": node("PrimitiveStringMultiline", value="a red cat"),
    "n8": node("CLIPTextEncodeSDXL", text_g="gray", text_l="gray", width=1024, height=1024, clip=["3", 1]),
    "n9": node("EmptyLatentImage", width=1152, height=896, batch_size=1),
    "n10": node(
        "KSamplerAdvanced", add_noise="enable", noise_seed=["5", 0], steps=30, cfg=5.5, sampler_name="dpmpp_2m_sde",
        scheduler="karras", start_at_step=0, end_at_step=10000, return_with_leftover_noise="disable",
        model=["4", 0], positive=["6", 0], negative=["8", 0], latent_image=["9", 0],
    ),
    "n11": node("VAEDecode", samples=["10", 0], vae=["1", 2]),
    "n12": node("SaveImage", images=["11", 0]),
    "n20": node("FaceDetailer", image=["11", 0]),
    "n21": node("PreviewImage", images=["20", 0]),
}  # fmt: skip
FLUX: dict[str, Any] = {
    "n1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
    "n2": node("DualCLIPLoader", clip_name1="t5xxl_fp16.safetensors", clip_name2="clip_l.safetensors", type="flux"),
    "n3": node("VAELoader", vae_name="ae.safetensors"),
    "n4": node("CLIPTextEncode", text="a red [wet] cat", clip=["2", 0]),
    "n5": node("FluxGuidance", guidance=3.5, conditioning=["4", 0]),
    "n6": node("BasicGuider", model=["12", 0], conditioning=["5", 0]),
    "n7": node("RandomNoise", noise_seed=77),
    "n8": node("KSamplerSelect", sampler_name="euler"),
    "n9": node("BasicScheduler", scheduler="simple", steps=20, denoise=1.0, model=["12", 0]),
    "n10": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
    "n11": node(
        "SamplerCustomAdvanced", noise=["7", 0], guider=["6", 0], sampler=["8", 0], sigmas=["9", 0],
        latent_image=["10", 0],
    ),
    "n12": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, width=1024, height=1024, model=["13", 0]),
    "n13": node("LoraLoaderModelOnly", lora_name="x.safetensors", strength_model=0.8, model=["1", 0]),
    "n14": node("VAEDecode", samples=["11", 0], vae=["3", 0]),
    "n15": node("SaveImage", images=["14", 0]),
}  # fmt: skip
#: Only the canvas, with a bypassed LoRA, a muted node and a primitive.
CANVAS = {
    "version": 0.4,
    "nodes": [
        {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": ["m.safetensors"], "inputs": [],
         "outputs": [{"type": "MODEL"}, {"type": "CLIP"}, {"type": "VAE"}]},
        {"id": 2, "type": "LoraLoader", "mode": 4, "widgets_values": ["a.safetensors", 1, 1],
         "inputs": [{"name": "model", "type": "MODEL", "link": 1}, {"name": "clip", "type": "CLIP", "link": 2}],
         "outputs": [{"type": "MODEL"}, {"type": "CLIP"}]},
        {"id": 3, "type": "CLIPTextEncode", "widgets_values": ["a red cat"],
         "inputs": [{"name": "clip", "type": "CLIP", "link": 3}]},
        {"id": 4, "type": "CLIPTextEncode", "widgets_values": ["gray"],
         "inputs": [{"name": "clip", "type": "CLIP", "link": 4}]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [640, 512, 1], "inputs": []},
        {"id": 6, "type": "KSampler", "widgets_values": [5, "randomize", 25, 7, "dpmpp_2m", "karras", 1],
         "inputs": [{"name": "model", "type": "MODEL", "link": 5}, {"name": "positive", "link": 6},
                    {"name": "negative", "link": 7}, {"name": "latent_image", "link": 8},
                    {"name": "seed", "widget": {"name": "seed"}, "link": 11}]},
        {"id": 7, "type": "VAEDecode", "inputs": [{"name": "samples", "link": 9}, {"name": "vae", "link": 10}]},
        {"id": 8, "type": "SaveImage", "widgets_values": ["ComfyUI"], "inputs": [{"name": "images", "link": 12}]},
        {"id": 9, "type": "PrimitiveNode", "widgets_values": [99, "fixed"], "outputs": [{"type": "INT"}]},
        {"id": 10, "type": "UpscaleModelLoader", "mode": 2, "widgets_values": ["x4.pth"]},
    ],
    "links": [
        [1, 1, 0, 2, 0, "MODEL"], [2, 1, 1, 2, 1, "CLIP"], [3, 2, 1, 3, 0, "CLIP"], [4, 2, 1, 4, 0, "CLIP"],
        [5, 2, 0, 6, 0, "MODEL"], [6, 3, 0, 6, 1, "CONDITIONING"], [7, 4, 0, 6, 2, "CONDITIONING"],
        [8, 5, 0, 6, 3, "LATENT"], [9, 6, 0, 7, 0, "LATENT"], [10, 1, 2, 7, 1, "VAE"], [11, 9, 0, 6, 4, "INT"],
        [12, 7, 0, 8, 0, "IMAGE"],
    ],
}  # fmt: skip
INVOKE_FLUX = {
    "app_version": "5.6.0", "generation_mode": "flux_txt2img", "positive_prompt": "a red cat",
    "negative_prompt": None, "width": 1024, "height": 768, "seed": 7, "steps": 30, "scheduler": "euler",
    "guidance": 4, "cfg_scale": 1, "rand_device": "cpu",
    "loras": [{"model": {"key": "k", "name": "x"}, "weight": 0.75}],
    "model": {"key": "m", "hash": "blake3:ab", "name": "FLUX Dev", "base": "flux", "type": "main"},
    "vae": {"key": "v", "name": "FLUX.1-schnell_ae"}, "t5_encoder": {"key": "t"}, "clip_embed_model": {"key": "c"},
    "canvas_v2_metadata": {"referenceImages": [], "controlLayers": [], "inpaintMasks": [], "regionalGuidance": []},
    "ref_images": [],
}  # fmt: skip
INVOKE_SD = {
    "app_version": "3.3.0", "generation_mode": "txt2img", "positive_prompt": "a cat", "negative_prompt": "gray",
    "width": 768, "height": 432, "seed": 3, "rand_device": "cpu", "cfg_scale": 7.5, "cfg_rescale_multiplier": 0,
    "steps": 50, "scheduler": "dpmpp_2m_sde_k", "clip_skip": 0, "model": {"model_name": "amix", "base_model": "sd-1"},
    "controlnets": [], "ipAdapters": [], "loras": [{"lora": {"model_name": "y"}, "weight": 0.6}], "vae": None,
}  # fmt: skip
INVOKE_2 = {
    "model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "app_id": "invoke-ai/InvokeAI",
    "app_version": "2.3.0", "image": {
        "prompt": [{"prompt": "a cat [gray, blurry]", "weight": 1}], "steps": 50, "cfg_scale": 7.5, "threshold": 0,
        "perlin": 0, "height": 512, "width": 512, "seed": 4, "seamless": False, "hires_fix": False, "type": "txt2img",
        "postprocessing": None, "sampler": "k_euler_a", "variations": [],
    },
}  # fmt: skip
SWARM = {
    "sui_image_params": {
        "prompt": "a red cat <lora:late:0.25>", "model": "OfficialStableDiffusion/sd_xl_base_1.0", "seed": 1,
        "steps": 20, "cfgscale": "7.0", "aspectratio": "1:1", "width": 1024, "height": 1024,
        "sampler": "euler_ancestral",
        "scheduler": "normal", "automaticvae": True, "negativeprompt": "gray", "loras": "d/one,two",
        "loraweights": "1,0.5", "nopreviews": True, "wildcardseed": -1, "swarm_version": "0.9.3.1",
    },
    "sui_extra_data": {"date": "2024-11-13", "generation_time": "6.11 (prep) and 4.84 (gen) seconds"},
}  # fmt: skip
SWARM_FLUX = {
    "sui_image_params": {
        "prompt": "a red cat", "model": "Flux/flux1-dev-fp8", "seed": 5, "steps": 25, "cfgscale": 1.0,
        "fluxguidancescale": 3.5, "width": 512, "height": 768, "sampler": "euler", "scheduler": "simple",
        "vae": "ae.sft", "negativeprompt": "", "swarm_version": "0.9.1.1", "imageformat": "JPG",
    },
}  # fmt: skip
FOOOCUS = {
    "adaptive_cfg": 7, "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "base_model_hash": "aa",
    "full_negative_prompt": ["gray", "worst quality"],
    "full_prompt": ["cinematic still a red cat", "a red cat, sharp"],
    "guidance_scale": 4, "lora_combined_1": "offset_0.1 : 0.1", "loras": [["offset_0.1", 0.1, "12ab"]],
    "metadata_scheme": False, "negative_prompt": "gray", "performance": "Speed", "prompt": "a red cat",
    "refiner_model": "None", "refiner_switch": 0.5, "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "seed": "9", "sharpness": 2, "steps": 30, "styles": "['Fooocus V2']",
    "vae": "Default (model)", "version": "Fooocus v2.5.5",
}  # fmt: skip
NOVEL_3 = {
    "prompt": "a red cat (small)", "steps": 28, "height": 1216, "width": 832, "scale": 5.0, "uncond_scale": 1.0,
    "cfg_rescale": 0.0, "seed": 11, "n_samples": 1, "noise_schedule": "native", "sampler": "k_euler_ancestral",
    "controlnet_strength": 1.0, "controlnet_model": None, "dynamic_thresholding": False,
    "dynamic_thresholding_percentile": 0.999, "dynamic_thresholding_mimic_scale": 10.0, "sm": False, "sm_dyn": False,
    "skip_cfg_below_sigma": 0.0, "lora_unet_weights": None, "uc": "gray", "request_type": "PromptGenerateRequest",
    "signed_hash": "c2lnbmVk", "reference_strength_multiple": [],
}  # fmt: skip
NOVEL_4 = {
    **NOVEL_3, "prompt": "{{red}} room", "uc": "[gray]", "noise_schedule": "karras", "v4_prompt": {
        "caption": {"base_caption": "{{red}} room, 1.5::tall::", "char_captions": [{"char_caption": "girl, hat"}]},
        "use_coords": False, "use_order": True,
    }, "v4_negative_prompt": {"caption": {"base_caption": "[gray]", "char_captions": []}},
}  # fmt: skip
CIVITAI = (
    "a red cat\nNegative prompt: gray\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 6, Size: 832x1216, "
    "Created Date: 2024-11-02T1200, Civitai resources: "
    '[{"type":"checkpoint","modelVersionId":128078,"modelName":"SD XL","modelVersionName":"v1.0 VAE fix"}], '
    "Civitai metadata: {}"
)
FORGE_FLUX = (
    "a red cat <lora:x:0.7>\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, "
    "Distilled CFG Scale: 3.5, Seed: 8, Size: 896x1152, Model hash: 2b1e5a1b42, Model: flux1-dev, "
    'Lora hashes: "x: 12ab34cd", Version: f2.0.1v1.10.1'
)
DRAW_THINGS = {
    "c": 'a "red" cat & <hat>', "uc": "gray", "model": "sd_xl_base_1.0_q6p_q8p.ckpt", "sampler": "Euler Ancestral",
    "seed": 12, "seed_mode": "Scale Alike", "scale": 7.5, "steps": 30, "strength": 1, "size": "1024x832",
    "lora": [{"model": "hat_lora_f16.ckpt", "weight": 0.6}], "v2": {"clipSkip": 1, "hiresFix": False, "controls": []},
}  # fmt: skip
A1111 = (
    "a red cat <lora:x:0.7>\nNegative prompt: gray\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, "
    "CFG scale: 7, Seed: 2, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned, Version: v1.9.4"
)


def spec(prompt: str, negative: str, seed: int, **more: Any) -> PromptSpec:
    return PromptSpec(prompt, negative, seed, exact=True, is_plain_cfg=True, **more)


#: How each file is written, and what it says.
FILES: dict[str, tuple[Callable[[Path], Path], PromptSpec]] = {
    "A1111": (
        lambda path: png(path, parameters=A1111),
        spec("a red cat", "gray", 2, model="v1-5-pruned", width=512, height=768, steps=20, guidance=7.0,
             sampler="DPM++ 2M Karras", lora=(("x", 0.7),), model_sha256="6ce0161689"),
    ),
    "Forge, FLUX": (
        lambda path: jpeg(path, FORGE_FLUX),
        spec("a red cat", "", 8, model="flux1-dev", width=896, height=1152, steps=20, guidance=3.5,
             lora=(("x", 0.7),), model_sha256="2b1e5a1b42"),
    ),
    "Civitai": (
        lambda path: jpeg(path, CIVITAI),
        spec("a red cat", "gray", 6, model="SD XL", width=832, height=1216, steps=25, guidance=7.0,
             sampler="DPM++ 2M Karras"),
    ),
    "ComfyUI": (
        lambda path: png(path, prompt=comfy(**PLAIN), workflow="{}"),
        spec("a red \\[wet\\] cat", "gray", 1, model="v1-5", width=512, height=768, steps=20, guidance=8.0,
             sampler="Euler"),
    ),
    "ComfyUI, SDXL": (
        lambda path: png(path, prompt=comfy(**SDXL)),
        spec("a red cat", "gray", 2**52, model="sd_xl_base_1.0", width=1152, height=896, steps=30, guidance=5.5,
             sampler="DPM++ 2M SDE Karras", lora=(("b", -1.0), ("a", 0.5))),
    ),
    "ComfyUI, FLUX": (
        lambda path: png(path, prompt=comfy(**FLUX)),
        spec("a red [wet] cat", "", 77, model="flux1-dev", width=1024, height=1024, steps=20, guidance=3.5,
             lora=(("x", 0.8),)),
    ),
    "ComfyUI, the canvas alone": (
        lambda path: png(path, workflow=json.dumps(CANVAS)),
        spec("a red cat", "gray", 99, model="m", width=640, height=512, steps=25, guidance=7.0,
             sampler="DPM++ 2M Karras"),
    ),
    "InvokeAI, FLUX": (
        lambda path: png(path, invokeai_metadata=json.dumps(INVOKE_FLUX)),
        spec("a red cat", "", 7, model="FLUX Dev", width=1024, height=768, steps=30, guidance=4.0,
             lora=(("x", 0.75),)),
    ),
    "InvokeAI 3": (
        lambda path: png(path, invokeai_metadata=json.dumps(INVOKE_SD)),
        spec("a cat", "gray", 3, model="amix", width=768, height=432, steps=50, guidance=7.5,
             sampler="DPM++ 2M SDE Karras", lora=(("y", 0.6),)),
    ),
    "InvokeAI 2": (
        lambda path: png(path, **{"sd-metadata": json.dumps(INVOKE_2), "Dream": '"a cat" -s 50'}),
        spec("a cat", "gray, blurry", 4, model="stable-diffusion-1.5", width=512, height=512, steps=50, guidance=7.5,
             sampler="Euler a"),
    ),
    "SwarmUI": (
        lambda path: png(path, parameters=json.dumps(SWARM, indent=2)),
        spec("a red cat", "gray", 1, model="sd_xl_base_1.0", width=1024, height=1024, steps=20, guidance=7.0,
             sampler="Euler a", lora=(("one", 1.0), ("two", 0.5), ("late", 0.25))),
    ),
    "SwarmUI, FLUX": (
        lambda path: jpeg(path, json.dumps(SWARM_FLUX)),
        spec("a red cat", "", 5, model="flux1-dev-fp8", width=512, height=768, steps=25, guidance=3.5),
    ),
    "NovelAI": (
        lambda path: png(path, Title="AI generated image", Software="NovelAI", Comment=json.dumps(NOVEL_3)),
        spec("a red cat \\(small\\)", "gray", 11, width=832, height=1216, steps=28, guidance=5.0, sampler="Euler a"),
    ),
    "Draw Things": (
        lambda path: xmp_png(path, json.dumps(DRAW_THINGS)),
        spec('a "red" cat & <hat>', "gray", 12, model="sd_xl_base_1.0", width=1024, height=832, steps=30,
             guidance=7.5, sampler="Euler a", lora=(("hat_lora", 0.6),)),
    ),
    "Draw Things, in EXIF": (
        lambda path: exif_png(path, json.dumps({**DRAW_THINGS, "lora": [], "c": "a red cat"})),
        spec("a red cat", "gray", 12, model="sd_xl_base_1.0", width=1024, height=832, steps=30, guidance=7.5,
             sampler="Euler a"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", FILES)
def test_a_file_of_another_program_is_the_prompt_that_it_says(tmp_path: Path, program: str) -> None:
    write, wanted = FILES[program]
    texts = read_generation(write(tmp_path / "a"))
    assert from_metadata("a", texts) == wanted
    assert from_metadata("a", texts, adapt=True) == wanted  # with nothing to note


def changed(nodes: Mapping[str, Any], **more: Any) -> dict[str, str]:
    return {"prompt": comfy(**{**nodes, **more})}


def with_inputs(nodes: Mapping[str, Any], key: str, **inputs: Any) -> dict[str, str]:
    return changed(nodes, **{key: {**nodes[key], "inputs": {**nodes[key]["inputs"], **inputs}}})


#: A second sampler that draws over what the first one drew, larger, as everybody's hires fix does.
HIRES = {
    **PLAIN,
    "n10": node("LatentUpscale", samples=["3", 0], width=1024, height=1536),
    "n11": node(
        "KSampler", seed=2, steps=10, cfg=5, sampler_name="heun", scheduler="normal", denoise=0.5, model=["4", 0],
        positive=["6", 0], negative=["7", 0], latent_image=["10", 0],
    ),
    "n8": node("VAEDecode", samples=["11", 0], vae=["4", 2]),
}  # fmt: skip
NOT_ALL: dict[str, tuple[dict[str, str], list[str], dict[str, Any]]] = {
    "hires fix": (
        changed(HIRES),
        ["the node 'LatentUpscale'", "2 samplers, one after the other"],
        {"seed": 1, "steps": 20, "width": 512, "sampler": "Euler"},
    ),
    "a later node": (
        changed(PLAIN, n20=node("FaceDetailer", image=["8", 0]), n9=node("SaveImage", images=["20", 0])),
        ["the node 'FaceDetailer'"],
        {"seed": 1},
    ),
    "another schedule": (
        with_inputs(PLAIN, "n3", sampler_name="res_multistep", scheduler="beta"),
        ["sampler is 'res_multistep beta'"],
        {"sampler": "DPM++ 2M"},
    ),
    "a seed of 64 bits, a size, steps": (
        with_inputs({**PLAIN, "n5": node("EmptyLatentImage", width=513, height=768)}, "n3", seed=2**64 - 1, steps=0),
        ["seed is 18446744073709551615", "width is 513", "steps is 0"],
        {"seed": 2**63 - 1, "width": 512, "steps": 1},
    ),
    "from a picture": (
        with_inputs({**PLAIN, "n5": node("VAEEncode", pixels=["30", 0]), "n30": node("LoadImage", image="a.png")},
                    "n3", denoise=0.6),
        ["another picture that it begins from", "a 'denoise' below 1"],
        {"width": None, "init_image": None},
    ),
    "two texts": (
        with_inputs(SDXL, "n6", text_l="a dog"),
        ["a prompt for each text encoder"],
        {"prompt": "a red cat, a dog"},
    ),
    "a refiner": (
        changed(
            SDXL,
            n30={**SDXL["n10"], "inputs": {**SDXL["n10"]["inputs"], "add_noise": "disable", "start_at_step": 25,
                                           "latent_image": ["10", 0]}},
            n11=node("VAEDecode", samples=["30", 0], vae=["1", 2]),
        ),
        ["2 samplers, one after the other"],
        {"steps": 30, "seed": 2**52},
    ),
    "clip skip and a VAE": (
        changed(
            {**PLAIN, "n6": node("CLIPTextEncode", text="a cat", clip=["20", 0]),
             "n8": node("VAEDecode", samples=["3", 0], vae=["21", 0])},
            n20=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
            n21=node("VAELoader", vae_name="other.safetensors"),
        ),
        ["CLIPSetLastLayer", "VAELoader"],
        {"prompt": "a cat"},
    ),
    "two pictures": (
        changed(
            PLAIN,
            n30={**PLAIN["n3"], "inputs": {**PLAIN["n3"]["inputs"], "seed": 5}},
            n31=node("VAEDecode", samples=["30", 0], vae=["4", 2]),
            n32=node("SaveImage", images=["31", 0]),
        ),
        ["2 pictures by several samplers"],
        {"seed": 5},
    ),
    "Fooocus": (
        {"parameters": json.dumps(FOOOCUS)},
        ["'adm_guidance'", "'sharpness'", "styles", "sampler is 'dpmpp_2m_sde_gpu karras'"],
        {"prompt": "cinematic still a red cat, a red cat, sharp", "negative_prompt": "gray, worst quality",
         "sampler": "DPM++ 2M SDE Karras", "lora": (("offset_0.1", 0.1),), "model": "juggernautXL_v8", "width": 1152},
    ),
    "NovelAI 4": (
        {"Software": "NovelAI", "Source": "NovelAI Diffusion V4.5 4BDE2A90", "Comment": json.dumps(NOVEL_4)},
        ["a model of its own ('NovelAI Diffusion V4.5 4BDE2A90')", "a prompt for each figure", "strong or weak"],
        {"prompt": "(red:1.1) room, (tall:1.5), girl, hat", "negative_prompt": "(gray:0.952)", "model": None,
         "sampler": "Euler a Karras" if alike("Euler a Karras") == "Euler a Karras" else "Euler a"},
    ),
    "InvokeAI": (
        {"invokeai_metadata": json.dumps({
            **INVOKE_SD, "positive_prompt": "a (red)1.3 cat, (tall)++ hat, fur--", "clip_skip": 2,
            "vae": {"model_name": "sd-vae-ft-mse"}, "controlnets": [{"control": 1}],
        })},
        ["'clip_skip'", "'controlnets'", "a VAE of its own", "by + and -"],
        {"prompt": "a (red:1.3) cat, (tall:1.21) hat, (fur:0.81)"},
    ),
    "SwarmUI": (
        {"parameters": json.dumps({"sui_image_params": {
            **SWARM["sui_image_params"], "prompt": "a cat <random:a> <segment:face> a nose", "refinerupscale": 2,
        }})},
        ["'refinerupscale'", "<segment:face>", "a <…>"],
        {"prompt": "a cat"},
    ),
    "Civitai": (
        {"parameters": CIVITAI.replace('fix"}]', 'fix"},{"type":"lora","weight":0.8,"modelName":"Detail"}]')},
        ["the lora 'Detail' of Civitai"],
        {"model": "SD XL", "lora": ()},
    ),
    "A1111": (
        {"parameters": A1111.replace("Seed", "Clip skip: 2, Hires upscale: 2, Denoising strength: 0.5, Seed")
                            .replace("DPM++ 2M,", "DPM++ 3M SDE,")},
        ["Clip skip", "Hires upscale", "another image", "sampler is 'DPM++ 3M SDE Karras'"],
        {"sampler": "DPM++ 2M SDE Karras", "strength": None},
    ),
    "Draw Things": (
        {"xmp_comment": json.dumps({**DRAW_THINGS, "strength": 0.4, "sampler": "DDIM Trailing",
                                    "v2": {"hiresFix": True, "clipSkip": 2}})},
        ["'hiresFix'", "'clipSkip'", "a 'strength' below 1", "sampler is 'DDIM Trailing'"],
        {"sampler": "DDIM"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_ALL)
def test_what_is_not_done_here_is_one_list_or_the_nearest_with_notes(case: str) -> None:
    texts, missing, found = NOT_ALL[case]
    with pytest.raises(PromptSyntax) as caught:
        from_metadata("a.png", texts)
    assert caught.value.message.startswith("a.png")
    assert [what for what in missing if what not in caught.value.message] == []
    assert "--adapt" in caught.value.fix or all(" is " in what for what in missing)
    adapted = from_metadata("a.png", texts, adapt=True)
    assert {key: getattr(adapted, key) for key in found} == found
    noted = "; ".join(adapted.notes)
    assert [what for what in missing if what not in noted] == []


def test_without_a_prompt_there_is_nothing_near() -> None:
    for texts in (
        changed({key: value for key, value in PLAIN.items() if key not in ("n3", "n8", "n9")}),
        with_inputs(PLAIN, "n6", text=""),
        {"parameters": json.dumps({"sui_image_params": {"seed": 1}})},
    ):
        with pytest.raises(PromptSyntax, match="no prompt"):
            from_metadata("a.png", texts, adapt=True)


def test_a_seed_that_is_not_there_is_0_where_the_nearest_is_taken() -> None:
    told = {key: value for key, value in INVOKE_SD.items() if key != "seed"}
    found = from_metadata("a.png", {"invokeai_metadata": json.dumps(told)}, adapt=True)
    assert (found.seed, found.notes) == (0, ("its seed is none: 0 is taken",))


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("euler simple", "Euler"), ("k_dpmpp_sde_karras", "DPM++ 2M SDE Karras"), ("uni_pc_bh2 simple", "UniPC"),
        ("dpmpp_2s_ancestral karras", "DPM2 a Karras"), ("DPM++ SDE Karras", "DPM++ 2M SDE Karras"),
        ("heunpp2", "Heun"), ("Euler A Trailing", "Euler a"), ("nobody knows", None), ("", None),
    ],
)  # fmt: skip
def test_the_sampler_that_is_most_like_another(called: str, name: str | None) -> None:
    assert alike(called) == name


def test_a_scale_of_one_beside_a_guidance_weighs_nothing_however_it_is_written() -> None:
    gaps: list[Gap] = []
    for scale in (None, "", 1, 1.0, "1", "1.0"):
        assert with_guidance(scale, 3.5, "gray", "cfg", gaps) == {"guidance": 3.5, "negative_prompt": None}
    assert gaps == []
    for scale in (0, 7.5, "7.5", "high"):
        assert with_guidance(scale, 3.5, "gray", "cfg", gaps) == {"guidance": 3.5, "negative_prompt": "gray"}
    assert [gap.what for gap in gaps] == [
        f"a cfg of {scale} beside its guidance" for scale in (0, 7.5, 7.5, "high")
    ]
    assert with_guidance("7", None, "gray", "cfg", []) == {"guidance": "7", "negative_prompt": "gray"}


def test_what_shaped_a_picture_several_times_is_told_once() -> None:
    recipe = Recipe("SwarmUI", "a cat", {"seed": 1}, (Gap("a <…> in its prompt"),) * 3)
    with pytest.raises(PromptSyntax) as caught:
        spec_of("a.png", recipe, adapt=False)
    assert caught.value.message.count("a <…>") == 1
    assert spec_of("a.png", recipe, adapt=True).notes == ("made by SwarmUI with a <…> in its prompt: left out",)


# --- hostile files ---------------------------------------------------------------------------------


def circles() -> list[dict[str, str]]:
    away = {"n20": node("Reroute", a=["21", 0]), "n21": node("Reroute", a=["20", 0])}
    texts = [
        with_inputs({**PLAIN, **away}, "n3", **{name: ["20", 0]})
        for name in ("model", "positive", "negative", "latent_image", "seed")
    ]
    texts.append(with_inputs(PLAIN, "n8", samples=["8", 0]))
    texts.append(with_inputs({**PLAIN, "n5": node("LatentUpscale", samples=["5", 0])}, "n3"))
    texts.append(with_inputs({**PLAIN, "n4": node("LoraLoaderModelOnly", model=["4", 0])}, "n3"))
    texts.append(with_inputs({**PLAIN, "n20": node("A", conditioning=["20", 0])}, "n3", positive=["20", 0]))
    doubled = {
        f"n{n}": node("StringConcatenate", string_a=[f"{n + 1}", 0], string_b=[f"{n + 1}", 0], delimiter="")
        for n in range(30, 60)
    }
    texts.append(
        with_inputs({**PLAIN, **doubled, "n60": node("PrimitiveString", value="x")}, "n6", text=["30", 0])
    )
    return texts


@pytest.mark.parametrize("texts", circles())
@pytest.mark.parametrize("adapt", [False, True])
def test_a_graph_that_goes_in_circles_is_refused(texts: dict[str, str], adapt: bool) -> None:
    with pytest.raises(PromptSyntax) as caught:
        from_metadata("a.png", texts, adapt=adapt)
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        '{"1": {"class_type": "KSampler", "inputs": ' + '{"a":' * 900 + "1" + "}" * 901 + "}",
        "[" * 100_000,
        json.dumps({str(n): node("KSampler", seed=n, latent_image=[str(n + 1), 0]) for n in range(10_000)}),
        json.dumps({str(n): node("SaveImage", images=[str(n), 0]) for n in range(5_000)}),
    ],
    ids=["deep", "deeper", "a chain", "a crowd"],
)
def test_a_huge_graph_is_read_or_refused_in_no_time(text: str) -> None:
    with pytest.raises(PromptSyntax):
        from_metadata("a.png", {"prompt": text}, adapt=True)


_NUMBERS = [None, True, -1, 0, 2**70, 1e308, "x", "", [], {}, ["3", 0], [[]], {"caption": 5}]
_ANY = st.recursive(
    st.sampled_from(_NUMBERS) | st.text(max_size=9), lambda v: st.lists(v, max_size=3), max_leaves=4
)
_SOURCES: list[tuple[str, dict[str, Any]]] = [
    ("invokeai_metadata", INVOKE_SD), ("invokeai_metadata", INVOKE_FLUX), ("sd-metadata", INVOKE_2["image"]),
    ("Comment", NOVEL_4), ("parameters", FOOOCUS), ("swarm", SWARM["sui_image_params"]), ("xmp_comment", DRAW_THINGS),
    *(("prompt:" + key, PLAIN[key]["inputs"]) for key in ("n3", "n5", "n6", "n8")), ("workflow", CANVAS["nodes"][5]),
]  # type: ignore[list-item]  # fmt: skip


@given(which=st.sampled_from(range(len(_SOURCES))), data=st.data(), adapt=st.booleans())
@settings(max_examples=400, deadline=None)
def test_values_of_a_wrong_type_are_refused_or_read_and_never_more(which: int, data: Any, adapt: bool) -> None:
    key, told = _SOURCES[which]
    wrong = {**told, data.draw(st.sampled_from(sorted(told))): data.draw(_ANY)}
    if key == "swarm":
        texts = {"parameters": json.dumps({"sui_image_params": wrong})}
    elif key == "sd-metadata":
        texts = {key: json.dumps({**INVOKE_2, "image": wrong})}
    elif key.startswith("prompt:"):
        texts = changed(PLAIN, **{key[7:]: {"class_type": PLAIN[key[7:]]["class_type"], "inputs": wrong}})
    elif key == "workflow":
        nodes = [*CANVAS["nodes"]]  # type: ignore[misc]
        nodes[5] = wrong
        texts = {key: json.dumps({**CANVAS, "nodes": nodes})}
    else:
        texts = {key: json.dumps(wrong), **({"Software": "NovelAI"} if key == "Comment" else {})}
    try:
        found = from_metadata("a.png", texts, adapt=adapt)
    except PromptSyntax as error:
        assert error.fix
    else:
        assert found.prompt
        assert adapt or not found.notes


def test_a_packet_of_xmp_or_an_exif_that_is_damaged_says_nothing(tmp_path: Path) -> None:
    path = exif_png(tmp_path / "a", json.dumps(DRAW_THINGS))
    data = path.read_bytes()
    at = data.index(b"eXIf") + 4
    for offset in (0, 4, 8, 20):
        path.write_bytes(data[: at + offset] + struct.pack(">I", 2**32 - 2) + data[at + offset + 4 :])
        assert read_generation(path).get("comment") in (None, json.dumps(DRAW_THINGS))
