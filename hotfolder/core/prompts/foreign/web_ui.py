"""The `parameters` of the Stable Diffusion web UI, and of all who write them alike: Forge, SD.Next, Civitai, Fooocus.

The layout is that of https://github.com/AUTOMATIC1111/stable-diffusion-webui, infotext_utils.py: the prompt, 'Negative
prompt: …', and 'Key: value' pairs on one line. A key that is neither understood nor known to be harmless is an error:
it may have shaped the picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hotfolder.core.prompts.converters import MOST_CHARACTERS
from hotfolder.core.prompts.foreign.settings import with_guidance, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe
from hotfolder.core.prompts.tags import take_loras
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place

_KEY = re.compile(r"\s*(\w[\w \-/]{0,60}): *")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])+"')
#: Characters of `parameters`: a prompt, a negative one, and a line of pairs.
_MOST = 3 * MOST_CHARACTERS
_NEGATIVE = "Negative prompt:"
_DISTILLED = "Distilled CFG Scale"  # FLUX's guidance, as Forge calls it
#: What the extension for wildcards writes behind the pairs.
_TEMPLATE = re.compile(r"(?:Negative )?Template: ?")
#: What becomes part of what is asked for.
_UNDERSTOOD = {
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash", "Denoising strength",
    "Init image", _DISTILLED, "Lora hashes", "TI hashes", "Hashes", "Civitai resources",
}  # fmt: skip
#: What says who made it, when, among how many, or from which template: no pixel depends on it.
_HARMLESS = {
    "Version", "App", "User", "Created Date", "Date", "Time taken", "Batch size", "Batch pos", "Template",
    "Negative Template", "Wildcard prompt", "Wildcard negative prompt", "RNG", "Civitai metadata", "Backend", "Parser",
    "Operations", "Metadata Scheme", "Full prompt",
}  # fmt: skip
#: Values with which a setting does nothing.
_NOTHING = {
    "Clip skip": ("1",), "VAE": ("Automatic", "None"), "Emphasis": ("Original",), "Eta": ("0", "0.0"),
    "Face restoration": ("None",), "Tiling": ("False",), "Variation seed strength": ("0", "0.0"),
    "Token merging ratio": ("0", "0.0"), "NGMS": ("0", "0.0"), "ENSD": ("0",), "Refiner": ("None",),
    "Postprocess upscale by": ("1",),
}  # fmt: skip


def is_written_in(text: str) -> bool:
    """Whether a text is, or holds, what the web UI writes of a picture."""
    return len(text) <= 10 * _MOST and any(_pairs_of(line) for line in text.split("\n"))


def read(name: str, text: str) -> Recipe:
    """What it says. Raises PromptSyntax for what is not in its layout, and for LoRA that are not understood."""
    if len(text) > _MOST:
        raise PromptSyntax(
            f"its 'parameters' are longer than {_MOST:,} characters", "write a prompt file", at=Place(name)
        )
    lines = text.strip().split("\n")
    found = [(number, pairs) for number, line in enumerate(lines) if (pairs := _pairs_of(line))]
    if not found:
        raise PromptSyntax(
            "its 'parameters' are not in the web UI's layout", "write a prompt file", at=Place(name)
        )
    if len(found) > 1 and name.lower().endswith(".txt"):
        raise PromptSyntax(
            "a second recipe of the web UI begins here",
            "put each into a file of its own",
            at=Place(name, found[1][0] + 1),
        )
    number, pairs = found[-1]
    behind = lines[number + 1] if number + 1 < len(lines) else ""
    if behind.strip() and not _TEMPLATE.match(behind):
        raise PromptSyntax(
            f"behind its settings stands {behind[:60]!r}, which is not understood",
            "write a prompt file",
            at=Place(name),
        )
    lines = lines[:number]
    at = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    prompt = "\n".join(lines[:at]).strip()
    negative = "\n".join(lines[at:]).removeprefix(_NEGATIVE).strip()
    gaps = [Gap(key) for key, value in pairs.items() if not _is_done(key, value)]
    if re.search(r"\bAND\b", prompt):
        gaps.append(Gap("several prompts put together by AND", "read as one"))
    is_begun = "Denoising strength" in pairs and "Init image" not in pairs
    if is_begun:
        gaps.append(Gap("another image to begin from, and it does not say which", "drawn from words alone"))
    size = re.fullmatch(r"(\d+)x(\d+)", pairs.get("Size", ""))
    asked: dict[str, Any] = {
        "seed": pairs.get("Seed"), "steps": pairs["Steps"],
        "width": size and size[1], "height": size and size[2], "init_image": pairs.get("Init image"),
        "strength": None if is_begun else pairs.get("Denoising strength"), "sampler": _sampler(pairs),
    }  # fmt: skip
    try:
        prompt, tags = take_loras(prompt)
    except ValueError as wanted:
        raise PromptSyntax(
            "a <lora:…> of its prompt is not understood", f"it takes {wanted}", at=Place(name)
        ) from None
    if len(dict(tags)) < len(tags):
        raise PromptSyntax("its prompt names a LoRA twice", "write a prompt file", at=Place(name))
    prompt, negative = _with_inversions(pairs, gaps, prompt, negative)
    asked |= with_guidance(pairs.get("CFG scale"), pairs.get(_DISTILLED), negative, "CFG scale", gaps)
    asked["model"] = pairs.get("Model") or _checkpoint(pairs)
    model_hash = _check_resources(name, pairs, [lora for lora, _ in tags], gaps)
    if tags:
        asked["lora"] = dict(tags)
    return Recipe("", prompt, asked, tuple(gaps), model_hash)


def _sampler(pairs: Mapping[str, str]) -> str | None:
    """Forge writes FLUX's guidance as a distilled scale."""
    is_flow = _DISTILLED in pairs
    return with_schedule(pairs.get("Sampler"), pairs.get("Schedule type", "Automatic"), is_flow=is_flow)


def _is_done(key: str, value: str) -> bool:
    return key in _UNDERSTOOD or key in _HARMLESS or value in _NOTHING.get(key, ())


def _pairs_of(line: str) -> dict[str, str]:
    """The settings on a line; none for one that holds something else."""
    if "Steps: " not in line:
        return {}
    pairs: dict[str, str] = {}
    at = 0
    while at < len(line):
        key = _KEY.match(line, at)
        begin = key.end() if key else at
        end = _end_of_value(line, begin)
        comma = line.find(",", end)
        end = len(line) if comma < 0 else comma
        value = line[begin:end].strip()
        if key:
            pairs[key[1].strip()] = _unquoted(value)
        elif value:
            pairs[value[:60]] = ""  # not understood, and not passed over
        at = end + 1
    return pairs if len(pairs) >= 3 and "Steps" in pairs else {}


def _end_of_value(line: str, at: int) -> int:
    """Where a value ends that may hold commas: in quotation marks, or a table or list of JSON."""
    if line[at : at + 1] in ("{", "["):
        try:
            return json.JSONDecoder().raw_decode(line, at)[1]
        except (ValueError, RecursionError):
            return at
    quoted = _QUOTED.match(line, at)
    return quoted.end() if quoted else at


def _check_resources(name: str, pairs: Mapping[str, str], loras: Sequence[str], gaps: list[Gap]) -> str | None:
    """The model's hash; a gap for each LoRA that the prompt does not name.

    'Lora hashes' may repeat what the prompt names; sites add resources that it does not.
    """
    hashes = _json(pairs.get("Hashes"))
    tables = hashes.items() if isinstance(hashes, dict) else ()
    named_loras = [key.partition(":")[2] for key, _ in tables if str(key).startswith("lora:")]
    named_loras += _names(pairs.get("Lora hashes", ""))
    known = {lora.rpartition("/")[2].lower() for lora in loras}
    known |= {lora.removesuffix(".safetensors") for lora in known}
    for kind, called in _civitai(pairs):
        if kind in ("checkpoint", *_INVERSIONS):
            continue
        if not (kind in ("lora", "locon", "lycoris") and called.lower() in known):
            gaps.append(Gap(f"the {kind} '{called}' of Civitai"))
    strange = [lora for lora in named_loras if lora.lower() not in known]
    gaps += [Gap(f"the LoRA '{lora}', which its prompt does not name") for lora in strange]
    told = pairs.get("Model hash") or next((str(value) for key, value in tables if key == "model"), "")
    if told and not re.fullmatch(r"[0-9a-fA-F]{8,64}", told):
        raise PromptSyntax(f"its 'Model hash' is no hash: {told[:60]!r}", "write a prompt file", at=Place(name))
    return told.lower() or None


#: How Civitai calls textual inversions.
_INVERSIONS = ("embed", "embedding", "textualinversion")


def _civitai(pairs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Kind and name of each resource that Civitai lists."""
    listed = _json(pairs.get("Civitai resources"))
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict):
            yield str(each.get("type", "")).lower(), str(each.get("modelName", "?"))[:60]
        else:
            yield "something", "?"


def _checkpoint(pairs: Mapping[str, str]) -> str | None:
    """The model, where Civitai's list alone names it."""
    return next((called for kind, called in _civitai(pairs) if kind == "checkpoint" and called != "?"), None)


def _with_inversions(pairs: Mapping[str, str], gaps: list[Gap], *texts: str) -> list[str]:
    """The texts with a tag for each textual inversion: there it is a word like any other, and the hashes name it.

    A gap for one that stands in none of them.
    """
    hashes = _json(pairs.get("Hashes"))
    tables = hashes.items() if isinstance(hashes, dict) else ()
    named = [key.partition(":")[2] for key, _ in tables if str(key).startswith("embed:")]
    named += [called for kind, called in _civitai(pairs) if kind in _INVERSIONS]
    found = list(texts)
    for inversion in dict.fromkeys([*named, *_names(pairs.get("TI hashes", ""))]):
        word = re.compile(rf"(?<![\w<:-]){re.escape(inversion)}(?![\w-])", re.IGNORECASE)
        if not inversion or not any(map(word.search, texts)):
            gaps.append(Gap(f"the textual inversion '{inversion}', which its prompt does not name"))
            continue
        found = [word.sub(lambda _, tag=f"<embedding:{inversion}>": tag, text) for text in found]  # type: ignore[misc]
    return found


def _names(hashes: str) -> list[str]:
    """'a: 12ab, b: 34cd' -> a, b."""
    return [part.rpartition(":")[0].strip() for part in hashes.split(",") if ":" in part]


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
