"""What prompts name is looked for before any work, and all that is missing is told at once."""

from __future__ import annotations

import pytest

from hotfolder.config.settings import Settings
from hotfolder.errors import PromptSyntax
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.types import PromptSpec


@pytest.fixture
def check(layout: Layout) -> PromptCheck:
    settings = Settings()
    return PromptCheck(layout, settings.catalogue(), settings)


def test_all_that_is_missing_is_told_at_once(check: PromptCheck) -> None:
    wanted = [
        ("p.txt:1:", PromptSpec("a", "", 1, model="shapes")),
        ("p.txt:2:", PromptSpec("a", "", 1, model="no-such-model")),
        ("p.txt:3:", PromptSpec("a", "", 1, model="shapes", lora=(("no-such-lora", 1.0),))),
    ]
    with pytest.raises(PromptSyntax) as caught:
        check.all_completed(wanted)
    first, second = caught.value.message.split("; ")
    assert first.startswith("p.txt:2: no model is called 'no-such-model'")
    assert second.startswith("p.txt:3: no LoRA is called 'no-such-lora'")
    assert [spec.model for spec in check.all_completed(wanted[:1])] == ["shapes"]


def test_another_programs_name_of_a_model_is_the_one_here(check: PromptCheck) -> None:
    asked = PromptSpec("a", "", 1, model="Shapes", exact=True)
    assert check.completed("a.png:", asked).model == "shapes"
    with pytest.raises(PromptSyntax, match="no model is called 'Shapes'"):
        check.completed("p.txt:", PromptSpec("a", "", 1, model="Shapes"))


def test_what_would_change_the_prompt_meanwhile_is_refused(check: PromptCheck) -> None:
    with pytest.raises(PromptSyntax, match=r"^p\.txt: \[cat:dog:0\.5\] would change the prompt"):
        check.completed("p.txt:", PromptSpec("a [cat:dog:0.5]", "", 1, model="shapes"))
    assert check.completed("p.txt:", PromptSpec("a [cat] (dog:1.2)", "", 1, model="shapes"))
