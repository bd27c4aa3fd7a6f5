"""What is known of a model before it is on this machine: an entry of registry.toml, or [[model]] in hotfolder.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_SHA256 = r"^[0-9a-f]{64}$"
#: In the place of a commit: the newest one, which the first pull pins.
FIRST = "first"
_LOADERS = {
    "generate": ("diffusers", "single_file"),
    "score": ("laion", "laion_safety", "clip_prompt", "clip_align", "pickscore", "q_realign", "technical"),
    "upscale": ("spandrel",),
    "encoder": ("clip", "clip_h", "siglip", "q_realign"),
    "lora": ("lora",),
    "embedding": ("embedding",),
}
#: The loaders that read the first file alone; single_file reads text encoders in GGUF after it.
_OF_ONE_FILE = frozenset({"single_file", "spandrel", "laion", "laion_safety", "lora", "embedding"})
#: The loaders of scorers that judge a picture by its prompt.
_BY_PROMPT = ("clip_align", "pickscore")
#: Scorers whose encoder gives ratings, and nothing else.
_RATING_ONLY = frozenset({"q_realign"})


class FileEntry(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(pattern=r"^[^\x00-\x1f\x7f]+$", description="Its name below the model's folder.")
    sha256: str | None = Field(None, pattern=_SHA256, description="64 hexadecimal digits, checked before use.")
    size: int | None = Field(None, ge=1, description="Bytes.")
    url: str | None = Field(None, pattern=r"^https?://", description="Where it is fetched from; needs a sha256.")
    hub_path: str | None = Field(
        None, pattern=r"^[^\x00-\x1f\x7f]+$", description="Its name in the hub's repository, when it is another."
    )

    @field_validator("path", "hub_path")
    @classmethod
    def _below(cls, path: str | None) -> str | None:
        pure = PurePosixPath(path or "x")
        if pure.is_absolute() or ".." in pure.parts or str(path).startswith("."):
            raise ValueError(f"'{path}' has to lie below the model's folder")
        return path

    @model_validator(mode="after")
    def _pinned(self) -> FileEntry:
        if self.url and not self.sha256:
            raise ValueError(f"'{self.path}' has a url, so it needs a sha256, too: nothing unchecked is fetched")
        return self


class ModelEntry(BaseModel):
    """A model that can be named in hotfolder.toml and in prompt files."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    FILES: ClassVar[type[BaseModel]] = FileEntry

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="What it is called: a-z, 0-9, '.', '_', '-'.")
    kind: Literal["generate", "score", "upscale", "encoder", "lora", "embedding"] = Field(
        description="What it does."
    )
    loader: str = Field(
        "",
        description="The code that reads it: diffusers (a pipeline folder) or single_file, spandrel, lora, embedding; "
        "for encoders clip, clip_h, siglip or q_realign; for scorers laion (a head), laion_safety, clip_prompt, "
        "clip_align, pickscore, q_realign or technical. Empty: the usual one of its kind.",
    )
    family: str = Field(
        "",
        description="The architecture. Of a generator it gives what `defaults` leaves out, and how it is asked: a "
        "name of docs/reference/families.md; empty: found from its files.",
    )
    about: str = Field("", description="A sentence, for people.")
    licence: str = Field("", description="The licence of the weights.")
    gated: bool = Field(False, description="Whether the hub wants its licence accepted, and a token.")
    builtin: bool = Field(False, description="Part of hotfolder itself.")
    source: str = Field("", description="Where it comes from, for people.")
    repo: str | None = Field(
        None, pattern=r"^[\w.-]+/[\w.-]+$", description="Repository on the model hub, 'owner/name'."
    )
    revision: str | None = Field(
        None,
        pattern=r"^([0-9a-f]{40}|first)$",
        description="The commit of the repository: 40 hexadecimal digits; or first: the newest one at the first pull, "
        "which is remembered.",
    )
    include: tuple[str, ...] = Field((), description="Patterns of the repository's files that are wanted.")
    files: tuple[FileEntry, ...] = Field(
        (),
        description="Its files. A diffusers folder: model_index.json. Of a generator, .gguf files after the first one "
        "are text encoders.",
    )
    encoder: str | None = Field(None, description="For scorers: the model whose embedding it reads.")
    twin: str | None = Field(
        None, description="The same network trained to keep noise: upscale.denoise mixes them."
    )
    base: str | None = Field(
        None,
        description="For a generator of one file: the generator, or the pipeline folder, that it was made from. "
        "All but Stable Diffusion 1.5 and SDXL take text encoders and VAE from it.",
    )
    defaults: Mapping[str, Any] = Field(
        {},
        description="For generators: steps, guidance, width, height, …; for q_realign: task, aesthetics or quality.",
    )
    golden: Mapping[str, Any] = Field({}, description="A value that it has to give when it is loaded.")
    memory_mb: Mapping[str, int] = Field({}, description="MiB that the weights take, by precision.")
    parts_mb: Mapping[Literal["denoiser", "text"], int] = Field(
        {}, description="MiB of a generator's denoiser, and of its text encoders together, at half precision."
    )
    download_mb: int | None = Field(None, ge=1, description="MiB that are fetched, of a folder.")

    @model_validator(mode="after")
    def _sound(self) -> ModelEntry:
        wrong: list[str] = []
        known = _LOADERS[self.kind]
        if self.loader and self.loader not in known:
            wrong.append(f"loader '{self.loader}' does not {self.kind}: use {' or '.join(known)}")
        if self.repo and not self.revision:
            wrong.append(f"'{self.name}' has a repo, so it needs a revision (40 hex digits, or 'first'), too")
        if self.revision == FIRST and not self.is_folder:
            wrong.append(f"'{self.name}' has files with a sha256, so its revision has to be a commit")
        if self.repo and not self.include and any(file.sha256 is None for file in self.files):
            wrong.append(f"'{self.name}' has a repo, so its files need a sha256: nothing unchecked is fetched")
        if not self.files and not self.builtin and not self.encoder:
            what = "model_index.json, or its one file" if self.kind == "generate" else "its weights"
            wrong.append(f"'{self.name}' needs files: the path of {what}")
        if (ignored := self._ignored) is not None:
            besides = ", and text encoders in .gguf" if self.kind == "generate" else ""
            wrong.append(f"of '{self.name}' only {self.files[0].path} would be read{besides}: leave {ignored} out")
        if self.base and self.kind != "generate":
            wrong.append(f"'{self.name}' is for '{self.kind}', and only generators have a base")
        if self.encoder and self.kind != "score":
            wrong.append(f"'{self.name}' is for '{self.kind}', and only scorers have an encoder")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def _ignored(self) -> str | None:
        """A file that its loader would not read."""
        if self.read_by not in _OF_ONE_FILE:
            return None
        others = (file.path for file in self.files[1:])
        return next(
            (path for path in others if self.kind != "generate" or not path.lower().endswith(".gguf")), None
        )

    @property
    def read_by(self) -> str:
        """The loader, or the usual one of its kind."""
        if not self.loader and self.kind == "generate" and self.files and is_generator(self.files[0].path):
            return "single_file"
        return self.loader or _LOADERS[self.kind][0]

    @property
    def needs_prompt(self) -> bool:
        """Whether it judges a picture by its prompt, and says nothing of one without."""
        return self.read_by in _BY_PROMPT

    @property
    def keeps_only_its_score(self) -> bool:
        """Whether what is stored of a picture is nothing but how it was rated."""
        return self.read_by in _RATING_ONLY

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of the hub whose files are not listed here one by one."""
        return bool(self.include)

    @property
    def is_pullable(self) -> bool:
        """Whether `models pull` knows where to get it, and how to check it."""
        return bool(self.repo) or (bool(self.files) and all(file.url for file in self.files))

    @property
    def size(self) -> int | None:
        """Bytes of its files, where that is known."""
        if self.download_mb is not None:
            return self.download_mb << 20
        sizes = [file.size for file in self.files]
        return None if self.is_folder or not sizes or None in sizes else sum(s for s in sizes if s)


def is_weights(path: str) -> bool:
    """Whether it is a file of weights by its name; no pickle."""
    return path.lower().endswith((".safetensors", ".sft"))


def is_generator(path: str) -> bool:
    """Whether it is a generator's file by its name."""
    return is_weights(path) or path.lower().endswith(".gguf")


def slug(text: str) -> str:
    """A name for an entry, made of a file's name."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "model"
