"""The prompts of a graph of ComfyUI, with what is done to them on the way to a sampler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hotfolder.core.prompts.foreign.comfy_graph import Graph, Link, Node
from hotfolder.core.prompts.recipe import Gap

#: Nodes that read words, and the inputs with a text for each of their text encoders; the main one first.
_ENCODERS = {
    "CLIPTextEncode": ("text",), "CLIPTextEncodeSDXL": ("text_g", "text_l"), "CLIPTextEncodeFlux": ("t5xxl", "clip_l"),
    "CLIPTextEncodeSD3": ("t5xxl", "clip_g", "clip_l"), "CLIPTextEncodeLumina2": ("user_prompt",),
    "TextEncodeQwenImageEdit": ("prompt",), "smZ CLIPTextEncode": ("text",),
}  # fmt: skip
#: Of any other node.
_TEXTS = ("text", "prompt", "positive", "string")


class Words:
    """`positive` and `negative` as they are written here; None where nothing is found."""

    READ = (*_ENCODERS, "FluxGuidance", "ConditioningZeroOut")

    def __init__(self, graph: Graph, *, is_flow: bool) -> None:
        self._graph = graph
        self._is_flow = is_flow
        self.gaps: list[Gap] = []
        self.positive: str | None = None
        self.negative: str | None = None
        self.guidance: Any = None  # that a model of FLUX is told, on the way of the prompt

    def read(self, positive: Link | None, negative: Link | None) -> None:
        """Raises ValueError as Graph does."""
        self.positive = self._text(positive, is_wanted=True)
        self.negative = self._text(negative, is_wanted=False)

    def _text(self, link: Link | None, *, is_wanted: bool) -> str | None:
        for _ in range(len(self._graph.nodes) + 1):
            node = self._graph.node(link)
            if node is None or node.kind == "ConditioningZeroOut":
                return None
            if is_wanted and "guidance" in node.inputs:
                self.guidance = self._graph.value(node.inputs["guidance"])
            before = node.first_link("conditioning", "conditioning_1", "conditioning_to", *self._sides(is_wanted))
            if node.kind in _ENCODERS:
                texts = [str(self._graph.value(node.inputs[name]) or "") for name in _ENCODERS[node.kind]]
                return self._as_one(node, texts)
            if before is None:
                text = next((self._graph.value(node.inputs[name]) for name in _TEXTS if name in node.inputs), None)
                if not isinstance(text, str):
                    self.gaps.append(Gap(f"the node '{node.kind[:60]}' in the place of 'CLIPTextEncode'"))
                    return None
                return self._written(text)
            link = before
        raise ValueError("links in a circle")

    def _sides(self, is_wanted: bool) -> Sequence[str]:
        return ("positive",) if is_wanted else ("negative",)

    def _as_one(self, node: Node, texts: Sequence[str]) -> str:
        """Here all text encoders read the same prompt."""
        said = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
        if len(said) > 1:
            instead = "put together" if node.kind == "CLIPTextEncodeSDXL" else "the longest one"
            self.gaps.append(Gap("a prompt for each text encoder", instead))
            return self._written(", ".join(said) if node.kind == "CLIPTextEncodeSDXL" else max(said, key=len))
        return self._written(said[0]) if said else ""

    def _written(self, text: str) -> str:
        """Square brackets are words there; here they make weaker, where weights are read at all."""
        return text if self._is_flow else re.sub(r"(?<!\\)([\[\]])", r"\\\1", text)
