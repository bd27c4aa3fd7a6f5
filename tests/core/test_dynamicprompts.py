"""Our wildcards and the dynamicprompts library: each template has the same language in both, or is refused by us."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from hotfolder.core.prompts import parse
from hotfolder.errors import PromptSyntax
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.wildcards import WildcardLists

LISTS = {
    "colours": ["blue", "green", "red"],
    "clothes/hats": ["bowler", "cap"],
    "clothes/shoes": ["boots"],
    "v1.5": ["old", "older"],
    "nested": ["a {big|small} dog", "cat"],
    "told": ["${size:tiny} mouse"],
}
#: Pieces of the language, each with its own meaning; the corpus is them alone, and two at a time.
PIECES = [
    "plain words", "{a|b}", "{a|b|c}", "{a|{b|c}}", "{2$$a|b|c}", "{1-2$$a|b|c}", "{2-$$a|b|c}", "{-2$$a|b|c}",
    "{2$$ and $$a|b|c}", "{2$$|$$a|b}", "{0.5::a|2::b}", "{3::a|b}", "__colours__", "__clothes/hats__",
    "__clothes/*__", "__cl*/hats__", "__v1.5__", "__nested__", "{2$$__colours__}", "{1-2$$__colours__}",
    "{2-$$__colours__}", "${x={a|b}}${x}", "${x=!{a|b}}${x} ${x}", "${y:z}", "${x=q}${x?=r}${x}", "${x=q} ${x:r}",
    "__told(size=huge)__", "__told__", "a (b:1.2) [c]", "{__colours__|plain}",
]  # fmt: skip
PAIRS = enumerate(itertools.product(PIECES, repeat=2))
CORPUS = [*PIECES, *(f"{one} of {other}" for n, (one, other) in PAIRS if (n + n // len(PIECES)) % 5 == 0)]


def normal(text: str) -> str:
    """Without what differs by design: our ', ' for their ',' between several, spaces, and the order of several."""
    text = re.sub(r"\s+", " ", re.sub(r", | and |\|", ",", text)).strip()
    return " ".join(",".join(sorted(word.split(","))) for word in text.split(" "))


@pytest.fixture
def lists(layout: Layout) -> WildcardLists:
    for name, texts in LISTS.items():
        path = layout.wildcards / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(texts))
    return WildcardLists(layout)


def ours(template: str, lists: WildcardLists) -> set[str]:
    return {normal(s.prompt) for s in parse("p.json", _json(template), lambda: 1, lists)}


def _json(template: str) -> str:
    return json.dumps({"prompt": template, "wildcards": "all"})


@pytest.mark.slow
def test_200_templates_have_the_language_of_the_library(layout: Layout, lists: WildcardLists) -> None:
    generators = pytest.importorskip("dynamicprompts.generators", reason="dynamicprompts is not installed")
    wildcards = pytest.importorskip("dynamicprompts.wildcards")
    manager = wildcards.WildcardManager(Path(layout.wildcards))
    every = generators.CombinatorialPromptGenerator(manager)
    chance = generators.RandomPromptGenerator(manager, seed=1)
    assert len(CORPUS) >= 200
    refused, different = [], []
    for template in CORPUS:
        # Of what is chosen once for all its uses, it gives every one only by chance.
        drawn = [chance.generate(template, 1)[0] for _ in range(200 if "=!" in template else 0)]
        theirs = {normal(text) for text in (*every.generate(template, max_prompts=None), *drawn)}
        try:
            found = ours(template, lists)
        except PromptSyntax as error:
            refused.append((template, error.message))
            continue
        if found != theirs:
            different.append((template, sorted(found - theirs)[:5], sorted(theirs - found)[:5]))
    assert different == []
    assert {message.partition(": prompt 1: ")[2] for _, message in refused} <= {
        "of a list, so many or more have no end"
    }
    assert len(refused) < 20


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("${c=!{red|blue}} a ${c} cat, ${c}", {"a red cat,red", "a blue cat,blue"}),
        ("${c={red|blue}}${c} ${c}", {"red red", "red blue", "blue red", "blue blue"}),
        ("{-2$$a|b|c}", {"a", "b", "c", "a,b", "a,c", "b,c"}),
        ("{2-$$a|b|c}", {"a,b", "a,c", "b,c", "a,b,c"}),
        ("{2$$__colours__}", {"blue,green", "blue,red", "green,red"}),
        ("{~a|b} {@a|b} {!a|b}", {"a a a", "a a b", "a b a", "a b b", "b a a", "b a b", "b b a", "b b b"}),
        ("__~v1.5__ __clothes/*__", {f"{a} {b}" for a in ("old", "older") for b in ("boots", "bowler", "cap")}),
        ("__told(size={big|small})__", {"big mouse", "small mouse"}),
        (r"\${a\} \%{b\}", {"${a} %{b}"}),
    ],
)
def test_what_a_template_stands_for(template: str, texts: set[str], lists: WildcardLists) -> None:
    texts = {normal(text) for text in texts}
    assert ours(template, lists) == texts
    try:
        drawn = [s.prompt for s in parse("p.txt", f"{template} --seed 0 --count 200", lambda: 1, lists)]
    except PromptSyntax as error:
        assert "{!" in template
        assert "'!' asks for every one" in error.message
    else:
        assert {normal(text) for text in drawn} == texts


def test_what_is_taken_in_turn_follows_the_seed(lists: WildcardLists) -> None:
    drawn = [s.prompt for s in parse("p.txt", "{@a|b|c} __@colours__ --seed 3 --count 4", lambda: 1, lists)]
    assert drawn == ["a blue", "b green", "c red", "a blue"]


def test_a_list_is_never_read_outside_of_its_folder(layout: Layout, lists: WildcardLists) -> None:
    (layout.root / "secret.txt").write_text("hidden")
    (layout.wildcards / "link.txt").symlink_to(layout.root / "secret.txt")
    for name in ("../secret", "*/../../secret", "..", "lin?", "link"):
        try:
            prompts = [s.prompt for s in parse("p.txt", f"a __{name}__", lambda: 1, lists)]
        except PromptSyntax:
            continue
        assert prompts == [f"a __{name}__"]  # words
