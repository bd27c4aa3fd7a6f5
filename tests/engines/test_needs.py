"""Which models a batch cannot do without."""

from __future__ import annotations

from hotfolder.engines.needs import added_to, needs_of
from hotfolder.models.contents import Need
from hotfolder.types import Item, Kind, RunnerSettings


def test_scorers_are_those_of_the_formula_and_those_beside_it() -> None:
    settings = RunnerSettings(scorers=("technical", "clip-prompt"))
    found = needs_of(Kind.SCORE, '0.5*laion-v2 + 0.5*"/heads/a b.pth" + 0*technical', settings)
    assert [need.name for need in found] == ["laion-v2", "/heads/a b.pth", "technical", "clip-prompt"]
    assert {need.kind for need in found} == {Kind.SCORE}


def test_an_enlarger_needs_its_twin_where_noise_is_kept() -> None:
    assert needs_of(Kind.UPSCALE, "mine", RunnerSettings()) == (Need("mine", "upscale"),)
    assert needs_of(Kind.UPSCALE, "mine", RunnerSettings(denoise=0.5)) == (
        Need("mine", "upscale", with_twin=True),
    )


def test_a_prompt_adds_what_it_names() -> None:
    params = {
        "prompt": "a cat, embedding:fine",
        "negative_prompt": "<embedding:bad>, embedding:fine",
        "lora": (("style", 0.5), ("/loras/x.safetensors", 1.0)),
    }
    item = Item(1, 1, None, "/staging", params)
    assert needs_of(Kind.GENERATE, "shapes", RunnerSettings()) == (Need("shapes", "generate"),)
    assert added_to(Kind.GENERATE, item) == (
        Need("style", "lora"),
        Need("/loras/x.safetensors", "lora"),
        Need("fine", "embedding"),
        Need("bad", "embedding"),
    )
    assert added_to(Kind.GENERATE, Item(1, 1, None, "/staging", {"prompt": "a cat"})) == ()
    assert added_to(Kind.SCORE, item) == ()
