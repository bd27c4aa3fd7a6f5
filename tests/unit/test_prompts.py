"""Prompt files: what is understood, and what is said of what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core.prompts import MAX_SEED, parse
from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec


def specs(text: str, name: str = "p.txt") -> list[PromptSpec]:
    return parse(name, text, lambda: 99)


def test_a_single_prompt_has_no_line_number() -> None:
    assert specs("a red circle\n") == [PromptSpec("a red circle", "", 99)]


def test_several_prompts_keep_the_numbers_of_their_lines() -> None:
    text = "# colours\n\na red circle\na blue \\\n  square --seed 4\n"
    assert specs(text) == [
        PromptSpec("a red circle", "", 99, line=3),
        PromptSpec("a blue   square", "", 4, line=4),
    ]


def test_count_means_seeds_that_follow_each_other() -> None:
    assert [s.seed for s in specs("x --seed 7 --count 3")] == [7, 8, 9]


def test_flags_of_the_web_ui_and_ours() -> None:
    text = 'it\'s a "cat" --negative_prompt "dark, blurry" --cfg_scale 2.5 --steps=4 --width 64 --height 128'
    assert specs(text) == [PromptSpec('it\'s a "cat"', "dark, blurry", 99, None, None, 64, 128, 4, 2.5)]


def test_prompt_may_be_a_flag() -> None:
    assert specs('--prompt "a red circle" --seed 1')[0] == PromptSpec("a red circle", "", 1)


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_the_prompt() -> None:
    assert [s.prompt for s in specs("\ufeffa\r\nb\r\n")] == ["a", "b"]


def test_seed_minus_one_draws_one() -> None:
    assert specs("x --seed -1")[0].seed == 99


def test_toml_and_json_say_the_same() -> None:
    toml = 'steps = 3\nprompts = ["a", { prompt = "b", seed = 5, count = 2 }]'
    json = '{"steps": 3, "prompts": ["a", {"prompt": "b", "seed": 5, "count": 2}]}'
    expected = [
        PromptSpec("a", "", 99, line=1, steps=3),
        PromptSpec("b", "", 5, line=2, steps=3),
        PromptSpec("b", "", 6, line=2, steps=3),
    ]
    assert specs(toml, "p.toml") == specs(json, "p.JSON") == expected


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("ok\nx --stesp 4", "p.txt:2: unknown flag '--stesp'", "did you mean '--steps'?"),
        ("x --frobnicate 4", "p.txt:1: unknown flag '--frobnicate'", "known are"),
        ("x --steps many", "--steps is 'many'", "a whole number from 1 to 1000"),
        ("x --steps 0", "--steps is '0'", "a whole number"),
        ("x --steps", "--steps has no value", "--steps VALUE"),
        ("x --guidance nan", "--guidance is 'nan'", "a number from 0 to 100"),
        ("x --width 100", "--width is '100'", "a multiple of 8, such as 96"),
        ("x --steps 4 --steps 5", "--steps is given twice", "once"),
        ("x --negative_prompt dark blurry", "'blurry' follows a flag", "quotation marks"),
        ('x --negative_prompt "dark', "cannot be read", "close the quotation marks"),
        ("--steps 4", "has no prompt", "before the flags"),
        ("x --prompt y", "two prompts", "--prompt"),
        ("x --count 10001", "--count is '10001'", "10000"),
        ("x --count 9999\ny --count 2", "more than 10,000 images", "split it"),
        (f"x --seed {MAX_SEED} --count 2", "go past", "at most"),
        ("# only a comment", "no prompt in it", "one prompt a line"),
        ("", "no prompt in it", "one prompt a line"),
        ("x -- y", "unknown flag '--'", "known are"),
    ],
)
def test_what_is_not_understood_names_line_and_remedy(text: str, says: str, fix: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        specs(text)
    assert says in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.toml", "prompt = ", "not valid TOML"),
        ("p.toml", "prompt = 'x'\nprompts = ['y']", "both"),
        ("p.toml", "prompts = 'x'", "not a list"),
        ("p.toml", "steps = 4", "has no text"),
        ("p.json", "{", "not valid JSON"),
        ("p.json", "3", "no table"),
        ("p.json", '[{"prompt": "x", "stesp": 4}]', "unknown key 'stesp'"),
        ("p.json", '[{"prompt": "x", "steps": true}]', "steps is True"),
        ("p.json", '[{"prompt": "x", "seed": 1.5}]', "seed is 1.5"),
        ("p.json", '[{"prompt": "x", "seed": 1e999}]', "seed is inf"),
        ("p.json", '[{"prompt": "x", "guidance": 1' + "0" * 400 + "}]", "guidance is 1"),
        ("p.json", '["x", 4]', "prompt 2"),
        ("p.json", "[" * 100_000, "not valid JSON"),
        ("p.doc", "x", "'.doc' is not a prompt file"),
        ("noending", "x", "'no ending'"),
    ],
)
def test_structured_files_are_as_strict(name: str, text: str, says: str) -> None:
    with pytest.raises(PromptSyntax, match=r"^(p|noending)") as caught:
        specs(text, name)
    assert says in caught.value.message
    assert caught.value.fix


def test_a_tab_parts_prompt_and_flags_and_odd_separators_do_not_part_lines() -> None:
    assert specs("a cat\t--seed 3")[0] == PromptSpec("a cat", "", 3)
    assert [s.prompt for s in specs("one\u2028line\x0c, still")] == ["one\u2028line\x0c, still"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"prompt": "\\ud800"}'),
        ("p.json", '{"prompt": "x", "\\ud800": 1}'),
        ("p.json", '{"prompt": "x", "guidance": 3, "cfg_scale": 7}'),
        ("p.json", '{"prompt": "x", "seed": ' + "9" * 5000 + "}"),
        ("p.toml", "prompt = 'x'\nseed = 0x" + "f" * 5000),
        ("p.toml", "a = " + "[" * 5000),
    ],
)
def test_hostile_documents_are_errors_that_can_be_written_down(name: str, text: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        specs(text, name)
    assert len(caught.value.message.encode()) < 500


@given(st.text(max_size=200), st.sampled_from(["p.txt", "p.toml", "p.json"]))
def test_any_text_is_prompts_or_a_clear_error(text: str, name: str) -> None:
    try:
        found = specs(text, name)
    except PromptSyntax as error:
        assert error.message.startswith(name)
        assert error.fix
    else:
        assert found
        assert all(spec.prompt.strip() and 0 <= spec.seed <= MAX_SEED for spec in found)
