"""Prompt files: what is understood, and what is said of what is not."""

import dataclasses
import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core.batch_key import batch_key
from hotfolder.core.prompts import ALIASES, MAX_SEED, VALUES, of_prompt, options_of, parse, place_of, render
from hotfolder.core.prompts.fields import FIELDS
from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.core.prompts.schema import KEYS, schema
from hotfolder.core.prompts.values import key_of
from hotfolder.core.samplers import SAMPLERS, name_of
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place, PromptSpec


def specs(text: str, name: str = "p.txt") -> list[PromptSpec]:
    return parse(name, text, lambda: 99)


def test_a_single_prompt_has_no_line_number() -> None:
    assert specs("a red circle\n") == [PromptSpec("a red circle", "", 99)]


def test_several_prompts_keep_the_numbers_of_their_lines() -> None:
    text = "# colours\n\na red circle\na blue \\\n  square --seed 4\n"
    assert specs(text) == [
        PromptSpec("a red circle", "", 99, line=3),
        PromptSpec("a blue square", "", 4, line=4),
    ]


def test_count_means_seeds_that_follow_each_other() -> None:
    assert [s.seed for s in specs("x --seed 7 --count 3")] == [7, 8, 9]


def test_flags_of_the_web_ui_and_ours() -> None:
    text = 'it\'s a "cat" --negative_prompt "dark, blurry" --cfg_scale 2.5 --steps=4 --width 64 --height 128'
    assert specs(text) == [PromptSpec('it\'s a "cat"', "dark, blurry", 99, None, None, 64, 128, 4, 2.5)]


def test_prompt_may_be_a_flag() -> None:
    assert specs('--prompt "a red circle" --seed 1')[0] == PromptSpec("a red circle", "", 1)


@pytest.mark.parametrize("dash", ["—", "–", "―", "−", "–-"])
def test_a_dash_before_a_flag_is_what_a_phone_makes_of_two(dash: str) -> None:
    text = f"a cat {dash}seed 7 {dash}cfg_scale=2.5 {dash}upscale {dash}negative_prompt “gray, brown”"
    assert specs(text) == [PromptSpec("a cat", "gray, brown", 7, guidance=2.5, upscale=True)]
    assert [s.prompt for s in specs(f"a cat {dash} seed of life\na cat {dash}asleep")] == [
        f"a cat {dash} seed of life",
        f"a cat {dash}asleep",
    ]
    with pytest.raises(PromptSyntax, match=r"p\.txt:1:7: .seed is 'x'|p\.txt:1:7: --seed is 'x'"):
        specs(f"a cat {dash}seed x")


@pytest.mark.parametrize("text", ['"a red cat"', "“a red cat”", "'a red cat'", "„a red cat“", '" a red cat "'])
def test_quotation_marks_around_a_whole_prompt_are_no_part_of_it(text: str) -> None:
    assert specs(f"{text} --seed 7") == specs(f"--prompt {text} --seed 7") == [PromptSpec("a red cat", "", 7)]
    assert specs(text)[0].prompt == "a red cat"


@pytest.mark.parametrize("text", ['"stop" says a "cat"', "it's a cat, it's", 'a "cat"', '"'])
def test_other_quotation_marks_are(text: str) -> None:
    assert specs(text)[0].prompt == text


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
        ("ok\nx --stesp 4", "p.txt:2:3: unknown flag '--stesp'", "did you mean '--steps'?"),
        ("x --frobnicate 4", "p.txt:1:3: unknown flag '--frobnicate'", "known are"),
        ("x --steps many", "--steps is 'many'", "a whole number from 1 to 1000"),
        ("x --steps 0", "--steps is '0'", "a whole number"),
        ("x --steps", "--steps has no value", "--steps VALUE"),
        ("x --guidance nan", "--guidance is 'nan'", "a number from 0 to 100"),
        ("x --width 100", "--width is '100'", "a multiple of 8, such as 96"),
        ("x --steps 4 --steps 5", "--steps is given twice", "once"),
        ("x --model dark blurry", "'blurry' follows a flag", "quotation marks"),
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


# --- seeds, settings at the top, wildcards -------------------------------------------------------

LISTS = {
    "colours": ["red", "blue", "green"],
    "animals/pets": ["a {small|large} cat", "a dog"],
    "loop": ["__loop__ again"],
    "huge": ["__huge2__" * 10],
    "huge2": ["__huge3__" * 10],
    "huge3": ["__huge4__" * 10],
    "huge4": ["__huge5__" * 10],
    "huge5": ["__colours__" * 100],
    "empty": [],
    "long": ["x" * 30_000],
    "broken": ["{a|b"],
}


def drawn(text: str, name: str = "p.txt") -> list[PromptSpec]:
    return parse(name, text, lambda: 99, LISTS.get)


def test_seeds_one_by_one() -> None:
    assert [s.seed for s in drawn("x --seeds 1,2,5-9")] == [1, 2, 5, 6, 7, 8, 9]
    assert [s.seed for s in drawn('{"prompt": "x", "seeds": [3, "7-8"]}', "p.json")] == [3, 7, 8]


def test_settings_at_the_top_are_for_the_whole_file() -> None:
    text = '+++\nsteps = 7\nguidance = 2.0\nseeds = "1-2"\n+++\na cat\na dog --steps 3 --seed 9\n'
    text += "a hen --count 3 --seed 4\n"
    assert drawn(text) == [
        PromptSpec("a cat", "", 1, 6, steps=7, guidance=2.0),
        PromptSpec("a cat", "", 2, 6, steps=7, guidance=2.0),
        PromptSpec("a dog", "", 9, 7, steps=3, guidance=2.0),
        *(PromptSpec("a hen", "", seed, 8, steps=7, guidance=2.0) for seed in (4, 5, 6)),
    ]
    counted = drawn("+++\nseed = 5\n+++\na --count 2\nb --seed 7")
    assert [(s.prompt, s.seed) for s in counted] == [("a", 5), ("a", 6), ("b", 7)]


def test_the_rest_of_a_file_can_be_one_prompt() -> None:
    text = '+++\nsplit = "file"\nseed = 4\n+++\n# not a comment\n\na cat,\n  --looking up\n'
    assert drawn(text) == [PromptSpec("# not a comment a cat, --looking up", "", 4)]


def test_each_seed_draws_its_own_and_always_the_same() -> None:
    specs = drawn("a {red|blue|green} {2$$cat|dog|hen} of __colours__ --seed 1 --count 50")
    assert specs == drawn("a {red|blue|green} {2$$cat|dog|hen} of __colours__ --seed 1 --count 50")
    assert len({s.prompt for s in specs}) > 10
    assert all(s.template == "a {red|blue|green} {2$$cat|dog|hen} of __colours__" for s in specs)
    assert drawn("a {red|blue|green} {2$$cat|dog|hen} of __colours__ --seed 7")[0].prompt == specs[6].prompt


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{2$$ and $$a|b|c}", ["a and b", "a and c", "b and c"]),
        ("{1-2$$-$$a|b}", ["a", "b", "a-b"]),
        ("x {very |}big", ["x very big", "x big"]),
        ("{3::a|0::b}", ["a", "b"]),
        ("{a|{b|c}}", ["a", "b", "c"]),
        ("__animals/pets__", ["a small cat", "a large cat", "a dog"]),
        ("__colours__ {x|y}", ["red x", "red y", "blue x", "blue y", "green x", "green y"]),
    ],
)
def test_every_combination(prompt: str, texts: list[str]) -> None:
    assert [s.prompt for s in drawn(f"{prompt} --wildcards all --seed 1")] == texts
    assert {drawn(f"{prompt} --seed {n}")[0].prompt for n in range(200)} <= set(texts) | {
        ", ".join(reversed(t.split(", "))) for t in texts
    } | {" and ".join(reversed(t.split(" and "))) for t in texts} | {
        "-".join(reversed(t.split("-"))) for t in texts
    }


def test_weights_count() -> None:
    found = [drawn(f"{{9::a|1::b}} --seed {n}")[0].prompt for n in range(500)]
    assert 400 < found.count("a") < 490


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (r"a \{b\|c\} \__x__", "a {b|c} __x__"),
        ("a {b} cat", "a b cat"),
        ("a | b (c:1.2) [d|e] f_g __ h", "a | b (c:1.2) [d|e] f_g __ h"),
        ("a {b|c} --wildcards off", "a {b|c}"),
    ],
)
def test_what_stands_for_itself(text: str, prompt: str) -> None:
    (spec,) = drawn(text)
    assert spec.prompt == prompt


MALFORMED = [
    ("a {b|c", "p.txt:1:3: a '{' is never closed"),
    ("ok\na b} c", "p.txt:2:4: a '}' closes nothing"),
    ("a {3$$b|c}", "p.txt:1:3: 3 of 2 options"),
    ("a {2-1$$b|c}", "p.txt:1:3: 2-1 of 2 options"),
    ("a {!b|c}", "p.txt:1:1: '!' asks for every one"),
    ("a ${b} c", "p.txt:1:1: nothing says what 'b' is"),
    ("a ${b=c", "p.txt:1:3: a '${' is never closed"),
    ("a ${1} c", "p.txt:1:3: '${' begins no variable"),
    ("a ${b=${b}} ${b}", "'b' leads to itself"),
    ("a {4$$__colours__}", "p.txt:1:1: 4 of the 3 texts of 'colours' cannot be taken"),
    ("a %{b$$c}", "p.txt:1:3: '%{b$' is not done here"),
    ("a __${b}__", "p.txt:1:3: '__${' is not done here"),
    ("a __colours(b)__", "p.txt:1:3: 'b' tells the list 'colours' nothing"),
    ("a {0::b|0::c}", "p.txt:1:3: every option has the weight 0"),
    ("a __nothing__ b", "p.txt:1:3: there is no list 'nothing'"),
    ("a __empty__ b", "p.txt:1:3: the list 'empty' is empty"),
    ("a __broken__ b", "in the list 'broken': a '{' is never closed"),
    ("a __loop__ b", "'loop' leads to itself"),
    ("a __huge__ b", "it stands for too much"),
    ("a __long__ b", "it grows beyond 20,000 characters"),
    ("{a|} --seed 3 --count 20", "its wildcards leave no prompt"),
    ("{" * 30 + "a" + "}" * 30, "nested too deeply"),
    ("{a|b|c|d|e|f|g|h|i|j}" * 5 + " --wildcards all", "more than 10,000 images"),
    (
        "{" + "|".join("{a|b}" for _ in range(12)) + "}" * 1 + "{a|b}" * 20 + " --wildcards all",
        "more than 10,000 images",
    ),
    ("x --wildcards maybe", "--wildcards is 'maybe'"),
    ("x --seeds 1,1", "--seeds is '1,1'"),
    ("x --seeds 5-3", "--seeds is '5-3'"),
    ("x --seeds", "--seeds has no value"),
    ("x --seeds a", "--seeds is 'a'"),
    ("x --seeds 0-99999", "--seeds is '0-99999'"),
    ("x --seeds 9223372036854775808", "--seeds is '9223372036854775808'"),
    ("x --seeds 1,2 --seed 3", "seeds beside seed or count"),
    ("x --seeds 1,2 --count 3", "seeds beside seed or count"),
    ("+++\nsteps = 3\na cat", "p.txt:1:1: the settings that begin with +++ do not end"),
    ("+++\nsteps = \n+++\na", "the settings at the top are not valid TOML"),
    ("+++\nstesp = 3\n+++\na", "p.txt:2: unknown key 'stesp'"),
    ("+++\nwidth = 64\nsteps = 0\n+++\na", "p.txt:3: steps is 0"),
    ("+++\nsplit = 'word'\n+++\na", "split is 'word'"),
    ("+++\nsteps = 3\n+++\n", "there is no prompt in it"),
    ("+++\nguidance = 1\ncfg_scale = 2\n+++\na", "guidance is given twice"),
    ("a \\\n  b --stesp 3", "p.txt:2:5: unknown flag '--stesp'"),
    ('a --negative_prompt "b', "p.txt:1:21: the flags cannot be read"),
    ("   a --steps x", "p.txt:1:6: --steps is 'x'"),
    ("x --sampler Eulr", "p.txt:1:3: --sampler is 'Eulr'"),
    ("x --lora", "--lora has no value"),
    ("x --lora --steps 4", "p.txt:1:3: --lora has no value"),
    ("x --negative_prompt --steps 4", "p.txt:1:3: --negative_prompt has no value"),
    ("--prompt --steps 4", "p.txt:1:1: --prompt has no value"),
    ("x --seed --stesp 4", "p.txt:1:3: --seed has no value; p.txt:1:10: unknown flag '--stesp'"),
    ("x --tiling --steps 4", "--tiling has no value"),
    ("x --lora :0.5", "--lora is ':0.5'"),
    ("x --lora a:strong", "--lora is 'a:strong'"),
    ("x --lora a:nan", "--lora is 'a:nan'"),
    ("x --lora a:11", "--lora is 'a:11'"),
    ("x --lora a --lora a:2", "p.txt:1:1: a LoRA is named twice"),
    ("x <lora:a:0.5> --lora a", "a LoRA is named twice"),
    ("x <lora:a:b>", "a <lora:…> of the prompt is not understood"),
    ("x <lora:>", "a <lora:…> of the prompt is not understood"),
    ("<lora:a>", "besides <lora:…> there is no prompt"),
    ("x --strength 0.5", "strength without init_image"),
    ("x --init-image a.png --strength 0", "--strength is '0'"),
    ("x --init-image", "--init-image has no value"),
    ("x --keep 2", "keep without best_of"),
    ("x --best-of 4 --keep 5", "5 of 4 cannot be kept"),
    ("x --best-of 1", "--best-of is '1'"),
    ("x --best-of 8 --seeds 1,4", "with --best-of 8 each seed stands for 8 in a row"),
    (f"x --best-of 8 --seed {MAX_SEED}", "the seeds go past"),
    ("x --best-of 1000 --count 11", "more than 10,000 images"),
    ("x --batch_size 200 --n_iter 200", "more than 10,000 images"),
    ("x --batch_size 2 --seeds 1,2", "seeds beside seed or count"),
    ("x --upscale maybe", "--upscale is 'maybe'"),
    ("x --upscale 0.5", "--upscale is '0.5'"),
    ("+++\nlora = { a = 'x' }\n+++\nb", "p.txt:2: lora is"),
    ("+++\nlora = [1]\n+++\nb", "p.txt:2: lora is"),
]


@pytest.mark.parametrize(("text", "says"), MALFORMED)
def test_each_mistake_is_named_with_its_place(text: str, says: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        drawn(text)
    assert says in caught.value.message
    assert caught.value.fix
    assert len(caught.value.message) < 500


def test_a_thousand_prompts_are_read_in_less_than_a_second() -> None:
    text = "\n".join(f"a {{red|blue}} {{2$$cat|dog|hen}} number {n} of __colours__ --steps 4" for n in range(1000))
    started = time.process_time()
    assert len(drawn(text)) == 1000
    assert time.process_time() - started < 1


words = st.text(max_size=40).filter(lambda text: text.strip())
a_spec = st.builds(
    PromptSpec,
    prompt=words.map(str.strip), negative_prompt=st.one_of(st.just(""), words.map(str.strip)),
    seed=st.integers(0, MAX_SEED), model=st.none() | words.map(str.strip),
    width=st.none() | st.sampled_from([8, 64, 8192]), height=st.none() | st.sampled_from([8, 512]),
    steps=st.none() | st.integers(1, 1000),
    guidance=st.none() | st.floats(0, 100),
    sampler=st.none() | st.sampled_from(sorted(SAMPLERS)),
    lora=st.dictionaries(words.map(str.strip), st.floats(-10, 10), max_size=3).map(lambda d: tuple(d.items())),
    strength=st.none(),
    upscale=st.none() | st.booleans() | st.floats(1, 16),
)  # fmt: skip
an_image = st.fixed_dictionaries({"init_image": words.map(str.strip), "strength": st.none() | st.floats(0.01, 1)})
a_set = st.integers(2, 1000).flatmap(
    lambda n: st.fixed_dictionaries({"best_of": st.just(n), "keep": st.none() | st.integers(1, n)})
)
some_specs = st.lists(
    st.builds(
        lambda spec, image, several: replace(spec, **image, **several),
        a_spec.filter(lambda spec: spec.seed <= MAX_SEED - 1000), st.just({}) | an_image, st.just({}) | a_set,
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@given(some_specs)
def test_what_is_rendered_is_read_as_the_same(specs: list[PromptSpec]) -> None:
    several = len(specs) > 1
    expected = [replace(spec, line=n if several else None) for n, spec in enumerate(specs, 1)]
    try:
        text = render(specs)
        text.encode()
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no text
    assert drawn(text, "p.json") == expected


@given(st.text(alphabet="ab{}|$:_\\0123456789-. =!?@~()*%", max_size=80))
def test_any_template_is_texts_or_a_clear_error(text: str) -> None:
    for mode in ("sample", "all"):
        try:
            found = drawn(f"{text} --wildcards {mode}")
        except PromptSyntax as error:
            assert error.fix
        else:
            assert all(spec.prompt for spec in found)


def test_the_published_schema_knows_every_key() -> None:
    assert set(KEYS) == set(VALUES)
    (one, several, _) = schema()["anyOf"]
    assert set(one["properties"]) == {"$schema", "prompt", *VALUES, *ALIASES}
    assert set(several["properties"]) == {"$schema", "prompts", *VALUES, *ALIASES}
    assert drawn('{"$schema": "prompts.schema.json", "prompt": "x"}', "p.json")[0].prompt == "x"


# --- samplers, LoRA, init-images, the best of several ---------------------------------------------


def test_flags_for_what_a_model_is_to_do() -> None:
    text = "a cat --sampler_name 'dpm++ 2m karras' --lora a:0.5 --lora b --init-image x/y.png --strength 0.4"
    assert specs(text) == [
        PromptSpec(
            "a cat", "", 99, sampler="DPM++ 2M Karras", lora=(("a", 0.5), ("b", 1.0)), init_image="x/y.png",
            strength=0.4,
        )
    ]  # fmt: skip


def test_a_lora_may_stand_in_the_prompt() -> None:
    (spec,) = specs("a cat <lora:pixel art:0.8>, nice <lora:b> --lora c:-1")
    assert (spec.prompt, spec.lora) == ("a cat, nice", (("c", -1.0), ("pixel art", 0.8), ("b", 1.0)))
    (spec,) = specs("a cat <lora:b:1> --wildcards off")
    assert (spec.prompt, spec.lora) == ("a cat <lora:b:1>", ())
    drawn_ones = {s.lora for s in drawn("a cat {<lora:b:0.5>|} --count 20 --seed 1")}
    assert drawn_ones == {(), (("b", 0.5),)}


def test_lora_in_structured_files() -> None:
    for text in (
        '{"prompt": "x", "lora": "a:0.5"}',
        '{"prompt": "x", "lora": ["a:0.5"]}',
        '{"prompt": "x", "lora": {"a": 0.5}}',
    ):
        assert specs(text, "p.json")[0].lora == (("a", 0.5),)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--upscale", True), ("--upscale no", False), ("--upscale yes", True), ("--upscale 2", 2.0)],
)
def test_upscale_may_stand_alone(flag: str, meant: bool | float) -> None:
    (spec,) = specs(f"x {flag} --steps 3")
    assert (spec.upscale, spec.steps) == (meant, 3)
    assert specs(f"x --steps 3 {flag}")[0].upscale == meant


def test_each_set_has_seeds_of_its_own() -> None:
    found = specs("x --seed 10 --count 3 --best-of 4 --keep 2")
    assert [(s.seed, s.best_of, s.keep) for s in found] == [(10, 4, 2), (14, 4, 2), (18, 4, 2)]
    assert [s.seed for s in specs("x --seeds 1,9 --best-of 8")] == [1, 9]


def test_batch_size_means_as_many_images_as_in_the_web_ui() -> None:
    assert [s.seed for s in specs("x --seed 5 --batch_size 2 --n_iter 3")] == [5, 6, 7, 8, 9, 10]


def test_every_sampler_is_told_by_its_own_name() -> None:
    for name, (scheduler, settings) in SAMPLERS.items():
        assert name_of(scheduler, settings) == name
        assert specs(f"x --sampler '{name.upper()}'")[0].sampler == name
    assert name_of("FlowMatchEulerDiscreteScheduler", {}) == "FlowMatchEulerDiscrete"


def test_options_of_a_command_line() -> None:
    options = options_of({"seed": 3, "count": 2, "steps": None, "lora": ["a:0.5"]})
    assert of_prompt(" a {b} ", options, lambda: 99) == [
        PromptSpec("a b", "", seed, template="a {b}", lora=(("a", 0.5),)) for seed in (3, 4)
    ]
    assert [s.steps for s in parse("p.txt", "a\nb --steps 3", lambda: 99, defaults=options_of({"steps": 7}))] == [
        7,
        3,
    ]
    with pytest.raises(PromptSyntax, match=r"^--best-of is 0$"):
        options_of({"best_of": 0})


@given(st.text(alphabet="ab<>lor:.5- ", max_size=60))
def test_any_tag_is_a_lora_or_a_clear_error(text: str) -> None:
    try:
        assert all(spec.prompt for spec in specs(text))
    except PromptSyntax as error:
        assert error.fix


# --- what an image says of its making, and what a hostile one could say ----------------------------


def parameters(text: str) -> PromptSpec:
    return from_metadata("a.png", {"parameters": text})


def test_hostile_texts_take_no_time() -> None:
    started = time.process_time()
    for text in ("p\n" + "a" * 50_000, "p\nSteps: 1, " + "a " * 20_000, "p\nSteps: 1, " + "a: " * 15_000):
        with pytest.raises(PromptSyntax):
            parameters(text)
    for text in (" " * 19_000 + "x", "<lora:" * 3_000, "x" * 19_000 + " --seeds " + "0-9999," * 500 + "1"):
        try:
            specs(text)
        except PromptSyntax as error:
            assert len(error.message) < 500
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "x" * 20_001),
        ("p.txt", f"x --negative_prompt {'y' * 20_001}"),
        ("p.json", '{"prompt": "' + "x" * 20_001 + '"}'),
        ("p.txt", "+++\nsplit = 'file'\n+++\n" + "x\n" * 20_001),
    ],
)
def test_no_prompt_is_longer_than_a_model_could_read(name: str, text: str) -> None:
    with pytest.raises(PromptSyntax, match="20,000 are the most"):
        specs(text, name)


def test_what_an_image_leaves_open_is_left_to_the_model() -> None:
    spec = parameters("a\nSteps: 3, Seed: 5, Size: 64x32, Model: m")
    assert spec == PromptSpec("a", "", 5, None, "m", 64, 32, 3, exact=True, is_plain_cfg=True)
    told = {"prompt": "a", "seed": 5, "steps": 3, "model_sha256": "ab", "sampler": "FlowMatchEulerDiscrete"}
    assert from_metadata("a.png", {"hotfolder": json.dumps(told)}) == PromptSpec(
        "a", "", 5, steps=3, exact=True, model_sha256="ab"
    )


def test_every_key_is_one_row_of_the_table() -> None:
    """Each is a flag, a key of TOML and JSON and of the schema; marked ones are recorded, or part the batches."""
    spec_fields = {each.name for each in dataclasses.fields(PromptSpec)}
    drawn_with = {
        "seeds",
        "count",
        "batch_size",
        "wildcards",
    }  # say which images are asked for, not how one is drawn
    assert {field.name for field in FIELDS} - drawn_with <= spec_fields
    assert len({name for field in FIELDS for name in (field.name, *field.aliases)}) == len(VALUES) + len(ALIASES)
    properties = schema()["anyOf"][0]["properties"]
    for field in FIELDS:
        for name in (field.name, *field.aliases):
            assert properties[name] == field.schema
            assert key_of(f"--{name.replace('_', '-')}") == field.name
        assert field.schema.get("description"), field.name
        plain = {each.name: None for each in FIELDS}
        one, other = (
            batch_key(plain),
            batch_key({**plain, field.name: [("a", 1)] if field.name == "lora" else "x"}),
        )
        parts_batches = field.in_batch_key or field.name in ("lora", "negative_prompt")
        assert (one != other) is parts_batches, field.name


#: Small files that ask for more than a machine has; each was seen to take gigabytes, or minutes.
GREEDY = {
    "seeds.txt": "a --seeds 0-9999\n" * 200_000,
    "seeds.json": '{"seeds": "0-9999", "prompts": [' + '"a",' * 900_000 + '"a"]}',
    "lora.txt": "a" + " --lora b" * 400_000,
    "pieces.txt": "a \\\n" + "--lora b \\\n" * 350_000 + "--steps 4",
    "word.txt": "a --negative " + "b\\ " * 1_300_000,
    "long.txt": "{a|b} " + "\U0001f3a8" * 15_000 + " --count 10000",
    "choices.txt": "{a|b}" * 3_900 + " --count 10000",
    "deep.txt": "+++\n" + "\n".join(f"k{n}." + ".".join("a" * 990) + " = 1" for n in range(1_000)) + "\n+++\na",
    "deep.toml": ".".join("a" * 60_000) + " = 1",
    "deep.json": '{"prompt": ' * 300_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GREEDY)
def test_a_small_file_cannot_ask_for_more_than_there_is(name: str) -> None:
    """In a process of its own, which may have 800 MB, and 90 s of a slow processor."""
    script = (
        "import resource, sys\n"
        "from hotfolder.core.prompts import parse\n"
        "from hotfolder.errors import PromptSyntax\n"
        "resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (90, 90))\n"
        "try: parse(sys.argv[1], sys.stdin.read(), lambda: 1)\n"
        "except PromptSyntax as error: print(error.message[:200])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name], input=GREEDY[name].encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().startswith(name)


# --- prompt files of other programs ----------------------------------------------------------------

RECIPE = (
    "a red circle\nNegative prompt: gray, brown\n"
    "Steps: 6, Sampler: Euler, CFG scale: 4, Seed: 7, Size: 64x64, Model: shapes, Version: v1.10.1\n"
)


def test_the_text_beside_an_image_of_the_web_ui_is_its_recipe() -> None:
    assert specs(RECIPE) == [
        PromptSpec(
            "a red circle",
            "gray, brown",
            7,
            None,
            "shapes",
            64,
            64,
            6,
            4.0,
            sampler="Euler",
            exact=True,
            is_plain_cfg=True,
        )
    ]
    with pytest.raises(PromptSyntax, match=r"p\.txt:6: a second recipe"):
        specs(RECIPE * 2)
    with pytest.raises(PromptSyntax, match=r"p\.txt was made with Hires upscale"):
        specs(RECIPE.replace("Version", "Hires upscale: 2, Version"))
    with pytest.raises(PromptSyntax, match="says itself"):
        parse("p.txt", RECIPE, lambda: 1, defaults={"steps": 3})


def test_a_file_of_invokeai() -> None:
    text = (
        '// samples\n"a red circle" -n2 -H64 -W 128 -S1234 -s 50 -C7.5 -A k_euler_a\na well-made x-ray -v 5 -x\n'
    )
    found = specs(text)
    asked = PromptSpec("a red circle", "", 1234, 2, None, 128, 64, 50, 7.5, sampler="Euler a")
    assert found == [asked, replace(asked, seed=1235), PromptSpec("a well-made x-ray -v 5 -x", "", 99, 3)]
    with pytest.raises(PromptSyntax) as caught:
        specs("a cat -S7 -G0.8 -g\na dog -S x")
    assert caught.value.message == (
        "p.txt:1:11: -G is a flag of InvokeAI that is not done here; "
        "p.txt:1:17: -g is a flag of InvokeAI that is not done here"
    )


@pytest.mark.parametrize(
    "text",
    [
        '--prompt "a red circle" --sd_model "shapes" --seed 7',
        '--prompt "a red circle" --model shapes --seed 7 --do_not_save_grid true --outpath_samples /x',
        '--prompt "a red circle" --model shapes --seed 7 --restore_faces false --tiling False --subseed -1',
        '--prompt "a red circle" --model shapes --negative_prompt "" --seed 7',
        '--prompt "a red circle" --do_not_save_grid --model shapes --seed 7 --outpath_samples',
    ],
)
def test_options_of_the_web_ui_that_mean_nothing_here_are_passed_over(text: str) -> None:
    assert specs(text) == [PromptSpec("a red circle", "", 7, model="shapes")]


def test_a_text_without_quotation_marks_goes_on_to_the_next_flag() -> None:
    text = "a red circle --negative_prompt '--no flag' --seed 7"  # in quotation marks it is a value
    assert [each.negative_prompt for each in specs(text)] == ["--no flag"]
    text = "--prompt a red circle --negative_prompt gray, brown --seed 7"
    assert specs(text) == [PromptSpec("a red circle", "gray, brown", 7)]


@pytest.mark.parametrize("flag", ["--tiling true", "--styles anime", "--subseed 5", "--sampler_index 0"])
def test_options_of_the_web_ui_that_mean_something_are_refused(flag: str) -> None:
    with pytest.raises(PromptSyntax, match=rf"^p\.txt:1:3: {flag.split()[0]}"):
        specs(f"x {flag}")


@pytest.mark.parametrize(
    "text",
    [
        "1. a cat\n2. a dog --seed 7\n",
        "1) a cat\n\n2) a dog --seed 7",
        "- a cat\n- a dog --seed 7",
        "* a cat\n* a dog --seed 7",
        "• a cat\n• a dog --seed 7",
        "> 1. a cat\n> 2. a dog --seed 7",
        "```text\n- a cat\n- a dog --seed 7\n```",
        '1. "a cat"\n2. "a dog" --seed 7',
    ],
)
def test_the_marks_of_a_list_are_no_part_of_its_prompts(text: str) -> None:
    assert [(s.prompt, s.seed) for s in specs(text)] == [("a cat", 99), ("a dog", 7)]


@pytest.mark.parametrize("text", ["a 1. cat\n2 cats\n3.5 cats", "- a cat\nb", "5. a\n3. b", "-a\n-b", "10 > 5"])
def test_what_only_looks_like_a_list_is_left_alone(text: str) -> None:
    assert [s.prompt for s in specs(text)] == text.split("\n")


def test_a_line_that_does_not_belong_to_the_list_is_named() -> None:
    with pytest.raises(PromptSyntax, match=r"^p\.txt:1:1: the other lines begin with the mark of a list"):
        specs("Here are two prompts:\n\n1. a cat\n2. a dog")
    with pytest.raises(PromptSyntax, match=r"^p\.txt:2:11: --steps is 'x'"):
        specs("1. a cat\n 2. a dog --steps x")


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_with_a_column_of_prompts(sign: str) -> None:
    rows = [["Seed", "prompt", "negative", "steps"], ["", '"a cat, gray"', "", "6"], ["7", "a {dog}", "blur", ""]]
    text = "\n".join(sign.join(row) for row in rows)
    assert specs(text, "p.csv") == [
        PromptSpec("a cat, gray", "", 99, 2, steps=6),
        PromptSpec("a dog", "blur", 7, 3, template="a {dog}"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2", "p.csv:1: no column is called 'prompt'"),
        ("", "p.csv:1: no column is called 'prompt'"),
        ("prompt", "there is no prompt in it"),
        (
            "prompt,seed\na,x\n,7\nb,1,2",
            "p.csv:2: seed is 'x'; p.csv:3: the row has no prompt; p.csv:4: the row has",
        ),
        ("prompt,name\na,x", "p.csv:2: unknown key 'name'"),
        ('prompt\n"a', "not valid CSV"),
    ],
)
def test_mistakes_of_a_table_are_named_by_line(text: str, says: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        specs(text, "p.csv")
    assert says in caught.value.message


@pytest.mark.parametrize("name", ["p:12:3.txt", "a: prompt 7: b.txt", ": .txt"])
def test_where_a_mistake_is_does_not_depend_on_what_the_file_is_called(name: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        specs("a\nb --stesp 3\nc --seed x", name)
    assert [mistake.at for mistake in caught.value.mistakes] == [Place(name, 2, 3), Place(name, 3, 3)]
    assert [fix.partition(": ")[0] for fix in caught.value.fix.split("; ")] == ["line 2", "line 3"]


@pytest.mark.parametrize(
    ("text", "name", "places", "begins"),
    [
        (
            '[{"prompt": "a", "steps": 0}, 4]',
            "p.json",
            [(None, None, 1), (None, None, 2)],
            "p.json: prompt 1: steps",
        ),
        ("prompt,steps\na,0\nb,0", "p.csv", [(2, None, None), (3, None, None)], "p.csv:2: steps"),
        ("a --steps 0", "p.txt", [(1, 3, None)], "p.txt:1:3: --steps"),
        ("{", "p.json", [(None, None, None)], "p.json: not valid JSON"),
    ],
)
def test_a_mistake_carries_its_place(
    text: str, name: str, places: list[tuple[int | None, ...]], begins: str
) -> None:
    with pytest.raises(PromptSyntax) as caught:
        specs(text, name)
    found = [mistake.at for mistake in caught.value.mistakes]
    assert [(at.line, at.column, at.prompt) for at in found if at is not None] == places
    assert caught.value.message.startswith(begins)


def test_where_a_prompt_of_a_file_stands() -> None:
    one, third = PromptSpec("a", "", 1), PromptSpec("a", "", 1, line=3)
    assert [str(place_of(name, third)) for name in ("p.txt", "p.JSON", "p.toml", "p.csv")] == [
        "p.txt:3:", "p.JSON: prompt 3:", "p.toml: prompt 3:", "p.csv:3:",
    ]  # fmt: skip
    assert [str(place_of(name, one)) for name in ("p.txt", "p.json")] == ["p.txt:", "p.json:"]
    assert [place_of(name, third).in_file for name in ("p.txt", "p.json")] == ["line 3", "prompt 3"]


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    with pytest.raises(PromptSyntax) as caught:
        drawn("a --stesp 3 --seed x\nb\nc __nothing__\nd --count 0\n--seed 3")
    assert caught.value.message.split("; ") == [
        "p.txt:1:3: unknown flag '--stesp'",
        "p.txt:1:13: --seed is 'x'",
        "p.txt:3:3: there is no list 'nothing'",
        "p.txt:4:3: --count is '0'",
        "p.txt:5:1: the line has no prompt",
    ]
    assert caught.value.fix.startswith("line 1: did you mean '--steps'?; line 1: it takes a whole number")
    assert [fix.partition(": ")[0] for fix in caught.value.fix.split("; ")] == [
        "line 1", "line 1", "line 3", "line 4", "line 5",
    ]  # fmt: skip
    with pytest.raises(PromptSyntax, match="unknown flag") as caught:
        drawn("a --stesp 3\nb --stesp 4")
    assert caught.value.fix == "did you mean '--steps'?"  # of both
    with pytest.raises(PromptSyntax, match=r"prompt 1: steps is 0; p\.json: prompt 2: seed is 'x'; .*twice"):
        specs(
            '[{"prompt": "a", "steps": 0}, {"prompt": "b", "seed": "x", "guidance": 1, "cfg_scale": 2}]', "p.json"
        )
    with pytest.raises(PromptSyntax) as caught:
        specs('[{"prompt": "a", "steps": "q:7:1"}, {"prompt": "b", "count": "x"}]', "p.json")
    assert [fix.partition(": ")[0] for fix in caught.value.fix.split("; ")] == ["prompt 1", "prompt 2"]
    with pytest.raises(PromptSyntax) as caught:
        drawn("a --stesp 3 --seed x\nb --count 0\n" + "c --stesp 4\n" * 10)
    assert caught.value.message.endswith("; and 3 more mistakes")  # of single ones, also where a line has several
    with pytest.raises(PromptSyntax) as caught:
        specs("a --stesp 3\n" * 50_000)
    assert caught.value.message.endswith("; and 90 more mistakes")
