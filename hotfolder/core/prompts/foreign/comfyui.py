"""ComfyUI: which sampler of a graph made this picture, and what it was given.

A node that the picture depends on, and that is none of those that are read here, may have shaped it: a gap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hotfolder.core.prompts.foreign.comfy_graph import Graph, Link, Node, is_passage
from hotfolder.core.prompts.foreign.comfy_words import Words
from hotfolder.core.prompts.foreign.settings import table_in, with_guidance, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe, named

PROGRAM = "ComfyUI"
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_EMPTY = re.compile(r"Empty\w*Latent\w*")
_SHIFTS = ("ModelSamplingFlux", "ModelSamplingSD3", "ModelSamplingAuraFlow")
_LOADERS = {
    "CheckpointLoaderSimple": "ckpt_name", "CheckpointLoader": "ckpt_name", "UNETLoader": "unet_name",
    "UnetLoaderGGUF": "unet_name", "UnetLoaderGGUFAdvanced": "unet_name", "DiffusersLoader": "model_path",
}  # fmt: skip
#: Nodes that are read here, or that change no pixel of the picture.
_READ = {
    *_SAMPLERS, *_LOADERS, *_SHIFTS, "VAEDecode", "VAEDecodeTiled", "SaveImage", "PreviewImage", "SaveImageWebsocket",
    "Note", "MarkdownNote", "PrimitiveNode", "PrimitiveString", "PrimitiveStringMultiline", "PrimitiveInt",
    "PrimitiveFloat", "PrimitiveBoolean", "StringConcatenate", "LoraLoader", "LoraLoaderModelOnly",
    "Power Lora Loader (rgthree)", "CLIPSetLastLayer", "RandomNoise", "BasicGuider", "CFGGuider", "KSamplerSelect",
    "BasicScheduler", "Flux2Scheduler", "SDTurboScheduler", "VAELoader", "CLIPLoader", "DualCLIPLoader",
    "TripleCLIPLoader", "QuadrupleCLIPLoader", "CLIPLoaderGGUF", "DualCLIPLoaderGGUF",
    "VAEEncode", "LoadImage", *Words.READ,
}  # fmt: skip
#: Models that flow has drawn since Stable Diffusion 3 come as a part by itself, and have nodes of their own.
_OF_FLOW = re.compile(
    r"FluxGuidance|CLIPTextEncode(?:Flux|SD3|Lumina2)|ModelSampling(?:Flux|SD3|AuraFlow)|Empty(?:SD3|Flux2?)\w*"
    r"|UNETLoader|UnetLoaderGGUF\w*|Flux2Scheduler|TripleCLIPLoader|QuadrupleCLIPLoader"
)


def settings_in(text: Mapping[str, str]) -> Any:
    """Both chunks, by their names, as far as they are there."""
    prompt, workflow = table_in(text.get("prompt")), table_in(text.get("workflow"))
    if prompt is not None and any(isinstance(node, dict) and "class_type" in node for node in prompt.values()):
        return {"prompt": prompt}
    return {"workflow": workflow} if workflow is not None and isinstance(workflow.get("nodes"), list) else None


def read(chunks: dict[str, Any]) -> Recipe:
    carried_out = chunks.get("prompt")
    graph = Graph.carried_out(carried_out) if carried_out else Graph.on_canvas(chunks["workflow"])
    return _Reading(graph).recipe()


class _Reading:
    """Of one graph; raises ValueError, KeyError or TypeError for one that is not as usual."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._gaps: list[Gap] = []
        self._is_flow = False

    def recipe(self) -> Recipe:
        last, involved = self._last_sampler()
        if last is None:
            return Recipe(PROGRAM, None, {}, (Gap("0 samplers"),))
        self._is_flow = any(_OF_FLOW.fullmatch(node.kind) for node in involved)
        self._gaps += [Gap(f"the node '{node.kind[:60]}'") for node in involved if not _is_read(node)]
        sampler, latent = self._first_sampler(last)
        asked = self._sampling(sampler)
        asked |= self._size(latent)
        words = self._words(sampler)
        asked |= with_guidance(asked["guidance"], words.guidance, words.negative, "'cfg'", self._gaps)
        asked |= self._model(self._guided(sampler).first_link("model") or sampler.first_link("model"))
        self._parts(involved)
        return Recipe(PROGRAM, words.positive, asked, (*self._gaps, *words.gaps))

    def _gap(self, what: str, instead: str = "left out") -> None:
        self._gaps.append(Gap(what, instead))

    def _last_sampler(self) -> tuple[Node | None, Sequence[Node]]:
        """The sampler whose picture was saved, and all nodes that the picture depends on.

        Where several pictures were saved, the file does not say which of them it is.
        """
        nodes = [node for node in self._graph.nodes.values() if not is_passage(node)]
        ends = [node for node in nodes if "save" in node.kind.lower() and _pictures(node)]
        ends = ends or [node for node in nodes if node.kind == "PreviewImage" and _pictures(node)]
        known: dict[str, Node | None] = {}
        made = {end.id: found for end in ends if (found := self._maker(end, known)) is not None}
        if not made:
            samplers = [node for node in nodes if _is_sampler(node)]
            if len(samplers) > 1:
                self._gap(f"{len(samplers)} samplers", "the last one")
            return (samplers[-1] if samplers else None), nodes
        if len({sampler.id for sampler in made.values()}) > 1:
            self._gap(f"{len(made)} pictures by several samplers, and it does not say which it is", "the last one")
        end = list(made)[-1]
        return made[end], list(self._graph.before(self._graph.nodes[end]))

    def _maker(self, end: Node, known: dict[str, Node | None]) -> Node | None:
        """The nearest sampler before a picture, on the way of pictures and latents; `known` is that of other nodes."""
        node: Node | None = end
        way: dict[str, None] = {}
        while node is not None and not _is_sampler(node) and node.id not in known:
            if node.id in way:
                raise ValueError("links in a circle")
            way[node.id] = None
            node = self._graph.node(
                node.first_link("images", "image", "pixels", "samples", "latent", "latent_image")
            )
        found = node if node is None or _is_sampler(node) else known[node.id]
        known.update(dict.fromkeys(way, found))
        return found

    def _first_sampler(self, last: Node) -> tuple[Node, Node | None]:
        """The sampler that began, where several worked one after the other, and what it began from."""
        sampler, count = last, 1
        node = self._graph.node(last.first_link("latent_image", "latent", "samples"))
        for _ in range(len(self._graph.nodes) + 1):
            if node is None or _EMPTY.fullmatch(node.kind):
                break
            if _is_sampler(node):
                sampler, count = node, count + 1
            if node.kind.startswith("VAEEncode"):
                self._gap("another picture that it begins from", "drawn from words alone")
                node = None
                break
            node = self._graph.node(node.first_link("latent_image", "samples", "latent"))
        else:
            raise ValueError("links in a circle")
        if count > 1:
            self._gap(f"{count} samplers, one after the other", "what the first one was told")
        return sampler, node

    def _input(self, node: Node | None, *names: str) -> Any:
        """The value of the first of these inputs that is there."""
        name = next((name for name in names if node is not None and name in node.inputs), None)
        return None if node is None or name is None else self._graph.value(node.inputs[name])

    def _guided(self, sampler: Node) -> Node:
        """Where model and words go in: a guider, or the sampler itself."""
        return self._graph.node(sampler.first_link("guider")) or sampler

    def _sampling(self, sampler: Node) -> dict[str, Any]:
        sigmas = self._graph.node(sampler.first_link("sigmas")) or sampler
        chosen = self._graph.node(sampler.first_link("sampler")) or sampler
        noise = self._graph.node(sampler.first_link("noise")) or sampler
        guider = self._guided(sampler)
        steps = self._input(sigmas, "steps")
        if self._input(sigmas, "denoise") not in (None, 1):
            self._gap("a 'denoise' below 1", "drawn whole")
        if self._input(sampler, "add_noise") not in (None, "enable", True):
            self._gap("no noise of its own", "with it")
        begin, end = self._input(sampler, "start_at_step"), self._input(sampler, "end_at_step")
        if begin not in (None, 0) or (end is not None and steps is not None and end < steps):
            self._gap("a part of the steps", "all of them")
        schedule = self._input(sigmas, "scheduler")
        if schedule is None and sigmas.kind == "KarrasScheduler":
            schedule = "karras"
        name = self._input(chosen, "sampler_name", "sampler")
        return {
            "seed": self._input(noise, "seed", "noise_seed"),
            "steps": steps,
            "guidance": self._input(guider, "cfg"),
            "sampler": with_schedule(name, schedule, is_flow=self._is_flow),
        }

    def _size(self, latent: Node | None) -> dict[str, Any]:
        if self._input(latent, "batch_size") not in (None, 1):
            self._gap("several pictures in one batch", "the first one")
        return {side: self._input(latent, side) for side in ("width", "height")}

    def _words(self, sampler: Node) -> Words:
        guider = self._guided(sampler)
        words = Words(self._graph, is_flow=self._is_flow)
        words.read(guider.first_link("positive", "conditioning", "cond1"), guider.first_link("negative"))
        return words

    def _model(self, link: Link | None) -> dict[str, Any]:
        """Its name, and the LoRA on the way to it."""
        loras: dict[str, float] = {}
        for _ in range(len(self._graph.nodes) + 1):
            node = self._graph.node(link)
            if node is None:
                return {"lora": loras}
            if node.kind in _LOADERS:
                return {"model": named(str(self._input(node, _LOADERS[node.kind]))), "lora": loras}
            if node.kind in _SHIFTS and not self._is_usual_shift(node):
                self._gap(f"a shift of its steps ('{node.kind}')", "the model's own")
            for name, weight in self._loras(node):
                loras[name] = loras.get(name, 0.0) + weight
            link = node.first_link("model", "unet", "ckpt")
        raise ValueError("links in a circle")

    def _is_usual_shift(self, node: Node) -> bool:
        """FLUX's, and Stable Diffusion 3's: the models' own schedulers have them."""
        if node.kind == "ModelSamplingFlux":
            return self._input(node, "max_shift") == 1.15 and self._input(node, "base_shift") == 0.5
        return node.kind == "ModelSamplingSD3" and self._input(node, "shift") == 3

    def _loras(self, node: Node) -> list[tuple[str, float]]:
        if node.kind.startswith("Power Lora Loader"):
            tables = [value for value in node.inputs.values() if isinstance(value, dict) and value.get("on")]
            return [(named(str(each["lora"])), float(each["strength"])) for each in tables]
        name = self._input(node, "lora_name")
        if not isinstance(name, str):
            return []
        weight, for_text = float(self._input(node, "strength_model")), self._input(node, "strength_clip")
        if for_text is not None and float(for_text) != weight:
            self._gap("a LoRA of two strengths", "the denoiser's")
        elif for_text is None and weight and not self._is_flow:
            self._gap("a LoRA for the denoiser alone", "for all that it has")
        return [(named(name), weight)] if weight else []

    def _parts(self, involved: Sequence[Node]) -> None:
        """Parts that are not the checkpoint's own, and words that are read otherwise."""
        for node in involved:
            if node.kind == "CLIPSetLastLayer" and self._input(node, "stop_at_clip_layer") not in (None, -1):
                self._gap("a layer of its text encoder ('CLIPSetLastLayer')", "the model's own")
            if node.kind == "VAELoader" and not self._is_flow:
                self._gap("a VAE of its own ('VAELoader')", "the model's own")
            if "CLIPLoader" in node.kind and not self._is_flow:
                self._gap(f"a text encoder of its own ('{node.kind}')", "the model's own")


def _pictures(node: Node) -> Link | None:
    return node.first_link("images", "image")


def _is_sampler(node: Node) -> bool:
    """One that is read, or of another name and the same inputs."""
    has_seed = "seed" in node.inputs or "noise_seed" in node.inputs
    return node.kind in _SAMPLERS or (has_seed and isinstance(node.inputs.get("latent_image"), Link))


def _is_read(node: Node) -> bool:
    return node.kind in _READ or is_passage(node) or bool(_EMPTY.fullmatch(node.kind))
