"""ComfyUI's graph of nodes: from the chunk `prompt`, which holds what was carried out, or from `workflow`, the canvas.

https://docs.comfy.org/specs/workflow_json describes the second. It has a node's values in the order of its widgets
without their names; those of the nodes that are read here are known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hotfolder.core.prompts.converters import MOST_CHARACTERS

#: Links that are followed one after the other: a longer way goes in a circle. And values that are asked for in all:
#: texts that are put together of texts could be more than there are atoms.
_FARTHEST, _MOST_VALUES = 500, 20_000
#: Where a node that only holds a value, or hands one on, has it.
_VALUES = ("value", "Value", "seed", "noise_seed", "int", "float", "text", "string", "Text", "String", "number")
#: What the canvas does with a seed after a run: among the values, and of no input.
_AFTERWARDS = ("fixed", "randomize", "increment", "decrement")
_MUTED, _BYPASSED = 2, 4
_SIZE = ("width", "height", "batch_size")
#: The names of the values of nodes, as the canvas orders them.
_WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step",
        "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"), "RandomNoise": ("noise_seed",), "CFGGuider": ("cfg",),
    "KSamplerSelect": ("sampler_name",), "BasicScheduler": ("scheduler", "steps", "denoise"),
    "Flux2Scheduler": ("steps", "width", "height"), "SDTurboScheduler": ("steps", "denoise"),
    "CLIPTextEncode": ("text",), "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl", "empty_padding"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "FluxGuidance": ("guidance",), "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",), "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"), "EmptyLatentImage": _SIZE, "EmptySD3LatentImage": _SIZE,
    "EmptyFlux2LatentImage": _SIZE, "CLIPSetLastLayer": ("stop_at_clip_layer",), "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",), "PrimitiveFloat": ("value",), "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",), "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "ModelSamplingSD3": ("shift",), "ModelSamplingAuraFlow": ("shift",), "VAELoader": ("vae_name",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Link:
    """An input that comes from another node."""

    node: str
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """`inputs` are values, or Links."""

    id: str
    kind: str
    inputs: Mapping[str, Any]

    def first_link(self, *names: str) -> Link | None:
        """The link of the first of these inputs that has one."""
        return next((found for name in names if isinstance(found := self.inputs.get(name), Link)), None)


class Graph:
    """Nodes by their numbers, in order. Methods raise ValueError where links lead nowhere, or in a circle."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self._asked = 0

    @classmethod
    def carried_out(cls, prompt: Mapping[str, Any]) -> Self:
        """The chunk `prompt`; what is no node in it is left out."""
        named = {key for key, node in prompt.items() if _is_node(node)}

        def read(value: Any) -> Any:
            is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
            return Link(str(value[0]), value[1]) if is_link and isinstance(value[1], int) else value

        return cls(
            Node(key, str(prompt[key]["class_type"]), {name: read(v) for name, v in prompt[key]["inputs"].items()})
            for key in prompt
            if key in named
        )

    @classmethod
    def on_canvas(cls, workflow: Mapping[str, Any]) -> Self:
        """The chunk `workflow`; nodes that were muted are not there, those that were bypassed hand on their inputs."""
        links = {}
        for each in workflow.get("links") or ():
            number, origin, slot = (
                (each["id"], each["origin_id"], each["origin_slot"]) if isinstance(each, dict) else each[:3]
            )
            links[number] = Link(str(origin), slot)
        listed = [node for node in workflow["nodes"] if isinstance(node, dict)]
        bypassed = {str(node["id"]): node for node in listed if node.get("mode") == _BYPASSED}

        def leads_to(number: Any) -> Link | None:
            link = links.get(number)
            for _ in range(_FARTHEST):
                if link is None or link.node not in bypassed:
                    return link
                node = bypassed[link.node]
                kind = node["outputs"][link.slot].get("type")
                link = next(
                    (links.get(i.get("link")) for i in node.get("inputs") or () if i.get("type") == kind), None
                )
            raise ValueError("links in a circle")

        def read(node: Mapping[str, Any]) -> Node:
            kind = str(node.get("type"))
            inputs: dict[str, Any] = dict(_widgets_of(kind, node.get("widgets_values")))
            for each in node.get("inputs") or ():
                if each.get("link") is not None and (link := leads_to(each["link"])) is not None:
                    inputs[str(each["name"])] = link
            return Node(str(node["id"]), kind, inputs)

        return cls(read(node) for node in listed if node.get("mode") not in (_MUTED, _BYPASSED))

    def node(self, link: Link | None) -> Node | None:
        """The node that a link comes from; those that only hand on are passed through."""
        for _ in range(_FARTHEST):
            if link is None:
                return None
            if link.node not in self.nodes:
                raise ValueError(f"no node {link.node}")
            node = self.nodes[link.node]
            if not is_passage(node):
                return node
            link = node.first_link(*node.inputs)
        raise ValueError("links in a circle")

    def value(self, given: Any, _depth: int = 0) -> Any:
        """A value, or what the node says that it is linked to; texts that a node puts together are put together."""
        self._asked += 1
        if _depth > _FARTHEST // 10 or self._asked > _MOST_VALUES:
            raise ValueError("links in a circle")
        if not isinstance(given, Link):
            return given
        node = self.node(given)
        if node is None:
            return None
        if node.kind == "StringConcatenate":
            parts = [self.value(node.inputs.get(name), _depth + 1) for name in ("string_a", "string_b")]
            text = str(self.value(node.inputs.get("delimiter"), _depth + 1) or "").join(map(str, parts))
            if len(text) > MOST_CHARACTERS:
                raise ValueError("a text without an end")
            return text
        name = next((name for name in _VALUES if name in node.inputs), None)
        return None if name is None else self.value(node.inputs[name], _depth + 1)

    def before(self, *ends: Node) -> Iterator[Node]:
        """These nodes, and all that they depend on, in the graph's order."""
        found = {node.id for node in ends}
        waiting = deque(ends)
        while waiting:
            for given in waiting.popleft().inputs.values():
                if isinstance(given, Link) and given.node not in found and given.node in self.nodes:
                    found.add(given.node)
                    waiting.append(self.nodes[given.node])
        return (node for key, node in self.nodes.items() if key in found)


def is_passage(node: Node) -> bool:
    """Whether it hands on what comes in."""
    return node.kind.startswith("Reroute")


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "class_type" in value and isinstance(value.get("inputs"), dict)


def _widgets_of(kind: str, values: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        yield from values.items()
        return
    if not isinstance(values, list):
        return
    if kind not in _WIDGETS:  # its values cannot be told apart; texts are worth a try
        yield from [("text", value) for value in values if isinstance(value, str) and len(values) == 1]
        return
    names = iter(_WIDGETS[kind])
    after_seed = False
    for value in values:
        if after_seed and value in _AFTERWARDS:
            after_seed = False
            continue
        name = next(names, None)
        if name is None:
            return
        after_seed = name in ("seed", "noise_seed", "value")
        yield name, value
