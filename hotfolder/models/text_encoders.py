"""Text encoders that are files of their own: which part of a pipeline folder each is for. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.architectures import architecture_in, named_in
from hotfolder.models.family import read_config
from hotfolder.models.quantised import is_gguf, read_gguf_header


def placed(folder: Path, named: Sequence[Path]) -> dict[str, Path]:
    """Parts of this pipeline folder in whose place such a file is read: those beside it, then those in it.

    Raises UsageError for a file that no part is like.
    """
    types = {
        part.name: str(read_config(part / "config.json").get("model_type"))
        for part in sorted(folder.glob("text_encoder*"))
        if (part / "config.json").is_file()
    }
    found: dict[str, Path] = {}
    for path in named:
        known = architecture_in(path, header := read_gguf_header(path))
        name = next((name for name, kind in types.items() if kind in known.types and name not in found), None)
        if name is None:
            raise UsageError(
                f"{path} is a text encoder of the architecture {named_in(header)}, which {folder} has no part for "
                f"(it has {' and '.join(types.values()) or 'no text encoder'})",
                "use the one that the model was made with",
            )
        found[name] = path
    for name in types:
        if name not in found and (lying := _gguf_in(folder / name)) is not None:
            found[name] = lying
    return found


def _gguf_in(part: Path) -> Path | None:
    """The GGUF file in this part's folder, where no other weights lie."""
    if any(part.glob("*.safetensors")):
        return None
    files = sorted(path for path in part.iterdir() if is_gguf(path))
    if len(files) > 1:
        raise UsageError(f"{part} has {files[0].name} and {files[1].name}", "keep one of them")
    return files[0] if files else None


def files_in(part: Path, variant: str | None) -> list[Path]:
    """The .safetensors that transformers would read; where there is none by its names, all that are there."""
    for end in (f".{variant}", "") if variant else ("",):
        whole, index = part / f"model{end}.safetensors", part / f"model.safetensors.index{end}.json"
        if whole.is_file():
            return [whole]
        if index.is_file():
            shards = read_config(index).get("weight_map")
            names = set(shards.values()) if isinstance(shards, dict) else set()
            if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
                raise ModelDamaged(f"{index} is not what it should be", "fetch it again")
            return [part / name for name in sorted(names)]
    return sorted(part.glob("*.safetensors"))
