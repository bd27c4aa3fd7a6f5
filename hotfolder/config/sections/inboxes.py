"""[[inbox]]: inboxes beside the three, and what may differ from folder to folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from hotfolder.config.sections.base import Section
from hotfolder.types import Kind

#: What may differ from the rest in an inbox of its own, and in a sub-folder: these keys, or with None all.
OVERRIDES: Mapping[str, tuple[str, ...] | None] = {
    "gate": None,
    "generate": (
        "model",
        "negative_prompt",
        "steps",
        "guidance",
        "width",
        "height",
        "sampler",
        "unused_options",
        "adapt",
    ),
    "upscale": ("model", "scale", "format", "min_gain"),
}


class InboxSettings(Section):
    """One more inbox, inbox/<name>/, whose results go to sub-folders of that name."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$",
        description="Its folder below inbox/, and below the results' folders.",
    )
    kind: Literal["generate", "score", "upscale"] = Field(description="What is done with the files in it.")
    priority: int = Field(
        0,
        ge=0,
        le=100,
        description="Above 0: what is dropped here, and all that comes of it, goes before what waits elsewhere with a "
        "lower one. Turns of models last as long as ever, and every fourth batch is of those who wait longest.",
    )
    gate: Mapping[str, Any] = Field({}, description="Keys of [gate] that are different here.")
    generate: Mapping[str, Any] = Field({}, description="Keys of [generate] that are different here.")
    upscale: Mapping[str, Any] = Field(
        {}, description="Keys of [upscale] that are different here: model, scale, format, min_gain."
    )

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in list(Kind):
            raise ValueError(f"inbox/{name} is there anyway; choose another name")
        return name

    @property
    def changes(self) -> dict[str, Mapping[str, Any]]:
        """What is different here, by section."""
        return {"gate": self.gate, "generate": self.generate, "upscale": self.upscale}
