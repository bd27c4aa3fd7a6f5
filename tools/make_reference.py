"""Writes docs/reference/ from the code: every command, every key, every view. `uv run python -m tools.make_reference`.

A test fails where what is committed is not what this writes.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from typer.main import get_command

from hotfolder.bench import document
from hotfolder.cli.app import app
from hotfolder.config import presets
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import ARRAYS, sections
from hotfolder.core.families import FAMILIES, Family
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.published import VIEWS
from hotfolder.models.entry import FileEntry

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER, CONFIG = REPOSITORY / "docs/reference", REPOSITORY / "config"
_MADE = "<!-- Made by tools/make_reference.py from the code: not to be edited. -->\n\n"


def commands() -> str:
    """docs/reference/commands.md."""
    lines = [
        "# Commands\n",
        "A *root* is a folder with a `hotfolder.toml` and a folder `.hotfolder`, as `init` makes it:",
    ]
    lines += [
        "everything that one daemon works on. `--root DIR` may stand anywhere; without it: `$HOTFOLDER_ROOT`, the"
    ]
    lines += [
        "root that the current folder lies in, `~/hotfolder`. A command that changes something says on stderr"
    ]
    lines += ["which root it acts on, and in its JSON as `root`. Exit codes: 0 all done, 1 failure, 2 usage or"]
    lines += ["configuration, 3 partly failed, 4 a model is missing, 130 interrupted; `status --check` has"]
    lines += [
        "[codes of its own](../administration.md#watching), as monitoring wants them. With `--json` stdout is one"
    ]
    lines += [
        "document with `schema_version`; an error in it has a stable `kind`, a `message` and a `fix`, one of the"
    ]
    lines += [
        "configuration `where`, `line` and `key`, too. `mistakes` has all that were found, where it is several.\n"
    ]
    for path, command in _walk(get_command(app), "hotfolder"):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join([path, "[OPTIONS]", *(_metavar(p) for p in arguments)])
        lines += [f"## {path.removeprefix('hotfolder ')}\n", f"`{usage}`\n", f"{(command.help or '').strip()}\n"]
        rows = [_parameter(p) for p in command.params if p.name not in ("root", "help")]
        if rows:
            lines += ["| | |", "| --- | --- |", *rows, ""]
    return _MADE + "\n".join(lines)


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _walk(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _metavar(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.name.upper()}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    told = (
        f" Default: {default}." if isinstance(default, int | float | str) and not isinstance(default, bool) else ""
    )
    return f"| {name} | {_cell(parameter.help or '')}{told} |"


def settings() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings\n",
        "What can stand in `hotfolder.toml`. `HOTFOLDER_GATE__KEEP=7` in the environment overrides `gate.keep`.",
        "A running daemon reads the file anew at `hotfolder reload` (or `systemctl --user reload hotfolder`, SIGHUP);",
        "a bad file leaves the settings as they were. Editors that know TOML complete it by the JSON Schema that",
        "[init](commands.md#init) writes, also in [config/](../../config/hotfolder.schema.json).\n",
    ]
    for name, section in sections():
        lines += [f"## [{name}]\n", " ".join((section.__doc__ or "").split()) + "\n"]
        if name in OVERRIDES:
            some = OVERRIDES[name]
            keys = "All keys" if some is None else ", ".join(f"`{key}`" for key in some)
            lines += [f"{keys} may differ in an `[[inbox]]` and in the `hotfolder.toml` of a sub-folder.\n"]
        lines += _keys(section)
    for name, table in ARRAYS.items():
        lines += [f"## [[{name}]]\n", " ".join((table.__doc__ or "").split()) + "\n", *_keys(table)]
    lines += ["### files of a [[model]]\n", *_keys(FileEntry)]
    return _MADE + "\n".join(lines)


def _keys(table: type[BaseModel]) -> list[str]:
    schema = table.model_json_schema()
    rows = ["| key | default | allowed | |", "| --- | --- | --- | --- |"]
    for key, field in table.model_fields.items():
        default = "required" if field.is_required() else _value(field.get_default())
        allowed = _allowed(schema["properties"][key], schema)
        rows.append(f"| `{key}` | {default} | {_cell(allowed)} | {_cell(field.description or '')} |")
    return [*rows, ""]


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return "`[" + ", ".join(f'"{each}"' for each in value) + "]`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return "" if value == {} else f"`{value}`"


def _allowed(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """A JSON Schema's limits in words."""
    if "$ref" in schema:
        return "a table"
    if "anyOf" in schema:
        return " or ".join(_allowed(each, whole) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"a list of {_allowed(schema.get('items') or schema.get('prefixItems', [{}])[0], whole)}"
    if schema.get("type") in ("number", "integer"):
        limits = [
            f"{word} {schema[key]:g}"
            for key, word in (
                ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"),
                ("multipleOf", "multiple of"),
            )
            if key in schema
        ]  # fmt: skip
        return " ".join(["whole number" if schema["type"] == "integer" else "number", *limits])
    if schema.get("type") == "boolean":
        return "`true`, `false`"
    return {"string": "text", "object": "a table"}.get(str(schema.get("type")), "")


def views() -> str:
    """docs/reference/views.md. Raises KeyError for a view or a column that has no description here."""
    lines = ["# Views of the database\n", "`hotfolder.db` is SQLite: whatever reads that can ask it, also while"]
    lines += [
        "the daemon works. Scripts may rely on these views; the tables behind them may change. Paths are relative to"
    ]
    lines += ["the root. `hotfolder query` asks in SQL and can change nothing.\n"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hotfolder.db"
        Ledger.open(path).close()
        connection = sqlite3.connect(path)
        found = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
        columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in found}
        connection.close()
    assert set(found) == set(VIEWS), set(found) ^ set(VIEWS)
    for name, (about, described) in VIEWS.items():
        lines += [f"## {name}\n", f"{about}\n", "| column | |", "| --- | --- |"]
        lines += [f"| `{column}` | {described[column]} |" for column in columns[name]]
        lines.append("")
    return _MADE + "\n".join(lines)


def families() -> str:
    """docs/reference/families.md."""
    lines = [
        "# Families of generators\n",
        "What is known of each kind of pipeline beside what its files say",
        "([hotfolder/core/families.py](../../hotfolder/core/families.py)). Any other text-to-image pipeline of",
        "diffusers is used as its signature allows, one picture at a time, with a note in the picture's settings.",
        "A folder is known by `_class_name` in its `model_index.json`, and by what *told by* says.\n",
        "| family | told by | steps | guidance | negative prompt | size | sampler | init-image | LoRA |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_family, FAMILIES.values()),
        "",
        "*Guidance*: its default; `CFG above N` weighs the prompt against the negative one as soon as it is more",
        "than N, `a number` is one that the network reads, `none` has no effect and is refused. Z-Image and Krea 2",
        "count from 0: their 1 is what others call 2. *Size*: the default; both sides are multiples of what",
        "follows. *Trained sizes*: the nearest one that it knows is drawn and resized, which the picture's settings",
        "say. *Init-image*: `start` is drawn over by `strength`; a `reference` is looked at, and has no strength.\n",
    ]
    return _MADE + "\n".join(lines)


def _family(family: Family) -> str:
    marks = [f"`{mark.key}`" + ("" if mark.value is ... else f" = {mark.value}") for mark in family.marks]
    told = [f"`{family.pipeline}`", *marks, *([f"`{family.called}` in its name"] if family.called else [])]
    guidance = {"cfg": f"CFG above {family.off:g}", "embedded": "a number", "none": "none"}[family.guidance]
    size = f"{family.defaults['width']}², {family.grid}"
    more = ", trained sizes" if family.bins else ", always about that many pixels" if family.fixed_area else ""
    cells = (
        f"`{family.name}`: {family.title}", ", ".join(told), family.defaults["steps"],
        f"{family.defaults['guidance']:g}, {guidance}", "yes" if family.negative else "no", size + more,
        "any" if family.samplers else "its own", family.picture, "yes" if family.lora else "no",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


PAGES = {
    "commands.md": commands,
    "families.md": families,
    "settings.md": settings,
    "views.md": views,
    "bench-all.schema.json": document.schema,
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
    made = {f"{name}.toml": presets.render(name) for name in presets.PRESETS}
    made |= {"hotfolder.schema.json": presets.schema(), "prompts.schema.json": presets.prompt_schema()}
    for name, text in made.items():
        (CONFIG / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
