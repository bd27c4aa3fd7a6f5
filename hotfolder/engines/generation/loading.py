"""From a model's files to a pipeline on the device, in as much memory as there is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline

from hotfolder.core.families import family_called
from hotfolder.core.memory_plan import AT_REST, IN_FEWER_BITS, IN_RAM, ONE_BY_ONE, MemoryPlan, Working
from hotfolder.core.working_memory import Drawing, working
from hotfolder.engines.device import free_of, memory_of, pick_dtype
from hotfolder.engines.generation.gguf_encoder import is_packed
from hotfolder.engines.generation.pipelines import check_no_code, pipeline_class
from hotfolder.engines.generation.text_encoder_file import has_scales, read_encoders
from hotfolder.errors import DeviceTrouble, ModelDamaged, UsageError
from hotfolder.models.family import read_config, variant_of
from hotfolder.models.quantised import is_gguf
from hotfolder.models.registry import ModelSpec
from hotfolder.models.text_encoders import placed

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()
log = logging.getLogger(__name__)
#: The parts of a pipeline that take the noise away, by their usual names.
_DENOISERS = ("unet", "transformer")
#: A part with this share of all bytes is kept in 4 bits; not the VAE, which would show it.
_LARGE = 1 / 8


def pick_generator_dtype(device: torch.device, wanted: str) -> torch.dtype:
    """As for other networks, but bfloat16 on a GPU that has it: FLUX.1 and SDXL's VAE overflow float16."""
    if wanted == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return pick_dtype(device, wanted)


def possible_steps(spec: ModelSpec, device: torch.device) -> tuple[MemoryPlan, ...]:
    """The steps that make sense here: those of bitsandbytes need it, a GPU and a pipeline folder; layer by layer
    all weights wait in the machine's memory.
    """
    lacking: set[MemoryPlan] = set()
    if spec.loader != "diffusers" and is_gguf(spec.files[0].path):
        lacking |= set(IN_FEWER_BITS)
    elif spec.loader != "diffusers" or importlib.util.find_spec("bitsandbytes") is None:
        lacking |= {MemoryPlan.INT8, MemoryPlan.NF4}
    elif not _moves_8_bits():
        lacking |= {MemoryPlan.INT8}
    if device.type != "cuda":
        lacking |= {MemoryPlan.OFFLOAD, MemoryPlan.INT8, MemoryPlan.NF4, MemoryPlan.GROUP}
    elif memory_of(torch.device("cpu"))[1] < IN_RAM * weights_of(spec)[0]:
        lacking |= {MemoryPlan.GROUP}
    return tuple(step for step in MemoryPlan if step not in lacking)


def weights_of(spec: ModelSpec) -> tuple[int, int, int]:
    """Bytes of all weights, of the denoiser, and of the largest other part, by the files.

    They are as large as at the precision that they are kept in. The other part is a text encoder, mostly.
    """
    parts = _part_sizes(spec.folder, spec.text_encoders) if spec.loader == "diffusers" else {}
    if spec.loader != "diffusers":
        if spec.base is not None and not family_called(spec.family).whole_files:
            parts = _part_sizes(spec.base.folder, spec.text_encoders)
            parts = {name: size for name, size in parts.items() if name not in _DENOISERS}
        parts["unet"] = spec.files[0].path.stat().st_size
    denoiser = sum(parts.pop(name, 0) for name in _DENOISERS)
    return denoiser + sum(parts.values()), denoiser, max(parts.values(), default=0)


def working_of(spec: ModelSpec, dtype: torch.dtype, count: int) -> Working | None:
    """What drawing takes beside the weights, with so many pictures of the usual size at once; None if not known."""
    folder = spec.folder if spec.loader == "diffusers" else spec.base.folder if spec.base is not None else None
    if folder is None:
        return None
    denoiser = next((name for name in _DENOISERS if (folder / name / "config.json").is_file()), None)
    if denoiser is None or not (folder / "vae" / "config.json").is_file():
        return None
    family, usual = family_called(spec.family), spec.defaults
    drawing = Drawing(
        usual.get("width") or 512, usual.get("height") or 512, count, dtype.itemsize,
        family.argument == "guidance_scale" and family.is_guided(usual.get("guidance")), family.grid,
        usual.get("max_sequence_length") or 0,
    )  # fmt: skip
    vae, network = (read_config(folder / name / "config.json") for name in ("vae", denoiser))
    return working(vae, network, drawing)


def _part_sizes(folder: Path, text_encoders: Sequence[Path] = ()) -> dict[str, int]:
    variant = variant_of(folder)
    parts: dict[str, int] = {}
    for path in folder.glob("*/*.safetensors"):
        if variant is None or f".{variant}." in path.name:
            wide = 2 if path.parent.name.startswith("text_encoder") and has_scales(path) else 1
            parts[path.parent.name] = parts.get(path.parent.name, 0) + wide * path.stat().st_size
    return parts | {name: path.stat().st_size for name, path in placed(folder, text_encoders).items()}


def load(spec: ModelSpec, device: torch.device, dtype: torch.dtype, step: MemoryPlan) -> DiffusionPipeline:
    """The pipeline, ready to draw. Nothing is asked of any hub.

    Raises ModelDamaged, UsageError for a file that is not supported, and whatever runs out of memory.
    """
    pipeline = _read(spec, dtype, step)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            # As a LoRA leaves them: torch adds in another order where gradients could be wanted.
            part.requires_grad_(False)
    if step in (MemoryPlan.FP8, MemoryPlan.INT8) and not is_quantised(denoiser_of(pipeline)):
        denoiser_of(pipeline).enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    place(pipeline, device, step)
    if step is MemoryPlan.GROUP:
        in_groups(pipeline, device, ahead=free_of(torch.device("cpu")) > weights_of(spec)[0])
    return pipeline


def place(pipeline: Any, device: torch.device, step: MemoryPlan) -> None:
    """Onto the device as this step says; also for a second pipeline of the same parts."""
    if step is not MemoryPlan.FULL:
        for name in ("enable_tiling", "enable_slicing"):
            if hasattr(pipeline.vae, name):
                getattr(pipeline.vae, name)()
    if takes_turns(pipeline, device, step) or step is MemoryPlan.GROUP:
        return  # its parts are moved by Turns, or their layers by `in_groups`, once for all pipelines of these parts
    if device.type == "cuda" and step not in AT_REST:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)


def in_groups(pipeline: Any, device: torch.device, *, ahead: bool) -> None:
    """Each layer comes to the device when it is its turn, and goes again; the VAE stays there.

    With `ahead`, which is for GPUs, the next layer comes while one is in work. That wants copies of all weights in
    memory that is not swapped. Raises UsageError for a model whose layers cannot be moved so.
    """
    if not getattr(denoiser_of(pipeline), "_supports_group_offloading", True):
        raise UsageError(
            f"generate.memory = 'group' cannot be had with {type(pipeline).__name__}",
            "set generate.memory to 'auto', or use a smaller model",
        )
    pipeline.enable_group_offload(
        onload_device=device, offload_type="leaf_level", use_stream=ahead, exclude_modules="vae"
    )


def takes_turns(pipeline: Any, device: torch.device, step: MemoryPlan) -> bool:
    """Whether text encoders and denoiser are on the device one after the other, which `residence.Turns` sees to.

    In 4 bits they are moved as diffusers does it, and so is a pipeline that does not read its prompts by themselves,
    or whose text encoders are quantised by transformers: not every back end for that can move them.
    """
    return (
        device.type == "cuda"
        and step in ONE_BY_ONE
        and hasattr(pipeline, "encode_prompt")
        and not any(
            getattr(part, "hf_quantizer", None) is not None
            and not (step is MemoryPlan.INT8 and getattr(part, "is_loaded_in_8bit", False))
            for name, part in pipeline.components.items()
            if name.startswith("text_encoder")
        )
    )


def _read(spec: ModelSpec, dtype: torch.dtype, step: MemoryPlan) -> DiffusionPipeline:
    if spec.loader == "single_file":
        if step in (MemoryPlan.INT8, MemoryPlan.NF4):
            raise UsageError(
                f"{spec.files[0].path} is one file, and {step} needs a diffusers folder",
                "set generate.memory to 'auto' or 'fp8'",
            )
        if step is MemoryPlan.FP8 and is_gguf(spec.files[0].path):
            raise UsageError(
                f"{spec.files[0].path} is in fewer bits already, and fp8 would change it",
                "set generate.memory to 'auto' or 'offload'",
            )
        from hotfolder.engines.generation.single_file import load_single_file  # it takes its time

        base = spec.base.folder if spec.base else None
        return load_single_file(
            spec.files[0].path, base, dtype, in_8_bits=step is MemoryPlan.FP8, text_encoders=spec.text_encoders
        )
    more: dict[str, Any] = {}
    if step in (MemoryPlan.INT8, MemoryPlan.NF4):
        _check_bitsandbytes(step)
        more["quantization_config"] = _four_bits(spec, dtype) if step is MemoryPlan.NF4 else _eight_bits(spec)
    try:
        # No checker: it makes pictures black, and says nothing.
        index = DiffusionPipeline.load_config(spec.folder, local_files_only=True)
        check_no_code(spec.folder, index)
        more |= read_encoders(spec.folder, index, dtype, spec.text_encoders)
        if "safety_checker" in index:
            more |= {"safety_checker": None, "requires_safety_checker": False}
        return pipeline_class(index.get("_class_name")).from_pretrained(
            spec.folder, dtype=dtype, variant=variant_of(spec.folder), local_files_only=True, **more
        )
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"a part of {spec.folder} is code that lies beside it, which is not run",
                "use a model whose parts are of diffusers and transformers",
            ) from error
        raise ModelDamaged(f"the pipeline in {spec.folder} cannot be loaded: {error}", "fetch it again") from error


def _moves_8_bits() -> bool:
    """Before bitsandbytes 0.48, what is in 8 bits had to stay on the GPU."""
    try:
        version = importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, version.split(".")[:2])) >= (0, 48)


def _check_bitsandbytes(step: MemoryPlan) -> None:
    has_it = importlib.util.find_spec("bitsandbytes") is not None and torch.cuda.is_available()
    if not has_it or (step is MemoryPlan.INT8 and not _moves_8_bits()):
        raise DeviceTrouble(
            f"generate.memory = '{step}' needs a GPU and bitsandbytes (0.48 or newer)",
            "uv pip install 'hotfolder[nf4]'; or set generate.memory to 'auto'",
        )


def _large(spec: ModelSpec) -> list[str]:
    """Names of the parts that are worth keeping in fewer bits; those in GGUF are in few already."""
    sizes = _part_sizes(spec.folder, spec.text_encoders)
    as_they_are = {"vae", *placed(spec.folder, spec.text_encoders)}
    return [
        name for name, size in sizes.items() if name not in as_they_are and size >= _LARGE * sum(sizes.values())
    ]


def _four_bits(spec: ModelSpec, dtype: torch.dtype) -> Any:
    return diffusers.PipelineQuantizationConfig(
        quant_backend="bitsandbytes_4bit",
        quant_kwargs={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype},
        components_to_quantize=_large(spec),
    )


def _eight_bits(spec: ModelSpec) -> Any:
    """Of the text encoders; the denoiser is cast layer by layer (`load`). None where none is large."""
    config = transformers.BitsAndBytesConfig(load_in_8bit=True)
    mapping = {name: config for name in _large(spec) if name.startswith("text_encoder")}
    return diffusers.PipelineQuantizationConfig(quant_mapping=mapping) if mapping else None


def is_quantised(network: Any) -> bool:
    """Whether it is kept in fewer bits than it draws in, as its file has it."""
    return getattr(network, "hf_quantizer", None) is not None or is_packed(network)


def forget_kept(pipeline: Any) -> None:
    """Empties what classes of its parts keep of what they computed, which would keep the part as well, on the device.

    Those of Qwen-Image's positions are behind a functools.lru_cache without an end, in a function around it.
    """
    parts = (part for part in pipeline.components.values() if isinstance(part, torch.nn.Module))
    classes = {each for part in parts for module in part.modules() for each in type(module).__mro__}
    for method in (method for each in classes for method in vars(each).values()):
        for each in (method, *map(_held, getattr(method, "__closure__", None) or ())):
            if callable(clear := getattr(each, "cache_clear", None)):
                clear()


def _held(cell: Any) -> Any:
    """What a function has of those around it; None where that is not there yet, or not any more."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def denoiser_of(pipeline: Any) -> Any:
    """The network that takes the noise away: a UNet, or a transformer."""
    found = next((part for name in _DENOISERS if (part := getattr(pipeline, name, None)) is not None), None)
    if found is None:
        raise UsageError(
            f"{type(pipeline).__name__} has no part that is known to take the noise away",
            "set generate.memory to 'full' or 'offload'",
        )
    return found
