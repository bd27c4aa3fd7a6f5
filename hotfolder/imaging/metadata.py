"""What a generated image says about itself, and how that is read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from hotfolder import __version__
from hotfolder.errors import NotAnImage
from hotfolder.files.regular import Opens, open_regular
from hotfolder.files.trouble import explain_read
from hotfolder.imaging import xmp
from hotfolder.imaging.carried import Carried, comment_in
from hotfolder.imaging.texts import texts_of

#: Files that may say how they were generated.
IMAGE_ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp"))


def explained(settings: Mapping[str, Any]) -> Carried:
    """What a generated image carries: `parameters` for other programs, our JSON, and that a model made it.

    PNG has text chunks for the first two; JPEG and WebP have EXIF's UserComment, and our JSON in the XMP.
    """
    text = json.dumps(dict(settings), ensure_ascii=False, sort_keys=True)
    return Carried(
        text={"parameters": a1111_parameters(settings), "hotfolder": text},
        xmp=xmp.generated(text),
        software=f"hotfolder {__version__}",
    )


def a1111_parameters(settings: Mapping[str, Any]) -> str:
    """The `parameters` text of the Stable Diffusion web UI, which most viewers can show.

    Its layout: the prompt, with <lora:name:weight>; 'Negative prompt: …' unless empty; then 'Key: value' pairs on
    one line.
    """
    tags = [f"<lora:{name}:{weight:g}>" for name, weight in (settings.get("lora") or {}).items()]
    lines = [" ".join((str(settings["prompt"]), *tags))]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    pairs = {
        "Steps": settings["steps"],
        "Sampler": settings["sampler"],
        "CFG scale": f"{settings['guidance']:g}",
        "Seed": settings["seed"],
        "Size": f"{settings['width']}x{settings['height']}",
        "Model hash": str(settings.get("model_sha256", ""))[:10],
        "Model": PurePath(settings["model"]).stem if "/" in settings["model"] else settings["model"],
    }
    if settings.get("init_image"):
        pairs |= {"Denoising strength": f"{settings['strength']:g}", "Init image": settings["init_image"]}
    pairs["Version"] = f"hotfolder {__version__}"
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value != ""))
    return "\n".join(lines)


def read_generation(path: Path, opens: Opens = open_regular) -> dict[str, str]:
    """What a PNG, JPEG or WebP file says of its making, as far as it does; decodes no pixels.

    `parameters` and `hotfolder`; other programs' texts by their keywords, and as `comment` JSON in EXIF, as
    `xmp_comment` what XMP has in its place.

    Raises NotAnImage for what is none; EnvironmentTrouble where it cannot be read just now.
    """
    try:
        with opens(path) as file:
            texts = texts_of(file)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and (trouble := explain_read(error, path.name)) is not None:
            raise trouble from error
        raise NotAnImage(
            f"{path.name} cannot be read as an image: {error}", "is it complete? Drop it anew"
        ) from None
    parameters, other = comment_in(texts.comment)
    found = {
        **texts.named,
        "parameters": texts.named.get("parameters") or parameters,
        "hotfolder": texts.named.get("hotfolder") or xmp.generation_of(texts.packet),
        "comment": other,
        "xmp_comment": xmp.comment_of(texts.packet),
    }
    return {key: text for key, text in found.items() if text}


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(c in value for c in ",:\n") else value
