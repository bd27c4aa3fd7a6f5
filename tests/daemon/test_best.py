"""The best of several, other seeds below the threshold, and prompts that ask for more than words."""

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path

import pytest

from hotfolder.daemon.loop import Daemon
from hotfolder.errors import FailedPicture, GenerationFailed
from hotfolder.folders.layout import UNSCORED, Layout
from hotfolder.imaging.encode import stage
from hotfolder.imaging.metadata import explained
from hotfolder.ledger.reader import Reader
from hotfolder.ledger.shown import OF_BEST, Shown
from hotfolder.models.registry import usual_folder
from hotfolder.status import mailbox
from hotfolder.transitions import Move
from hotfolder.types import Item, Kind
from tests.support.roots import check_consistent, daemon, files_in, picture, rows, settings
from tests.support.scripted import Script, ScriptedExecutor, always


def drop(layout: Layout, text: str, name: str = "p.txt") -> None:
    (layout.inbox(Kind.GENERATE) / name).write_text(text)


def by_name(scores: dict[str, float]) -> Script:
    """Scores by a part of the file's name; 5.5 for all else."""

    def script(kind: Kind, item: Item) -> float:
        return next((score for part, score in scores.items() if part in (item.source or "")), 5.5)

    return script


def error_of(layout: Layout, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((layout.root / f"failed/{name}.error.json").read_text())
    return found


def test_the_best_are_kept_whatever_the_threshold_and_the_others_are_not(layout: Layout) -> None:
    drop(layout, "a --seed 1 --best-of 4 --keep 2")
    scores = by_name({"s1.": 3.0, "s2.": 6.0, "s3.": 5.0, "s4.": 2.0})
    report = daemon(layout, ScriptedExecutor(scores)).run(once=True)
    assert (report.done, report.failed) == (8, 0)
    assert files_in(layout, "keep", "reject") == [
        "keep/p-s2.png",
        "keep/p-s3.png",
        "reject/p-s1.png",
        "reject/p-s4.png",
    ]
    assert files_in(layout, "archive", "inbox", "upscaled") == ["archive/p.txt"]
    assert rows(layout, "SELECT seed, verdict, score FROM results ORDER BY seed") == [
        (1, "reject", 3.0), (2, "keep", 6.0), (3, "keep", 5.0), (4, "reject", 2.0),
    ]  # fmt: skip
    check_consistent(layout)


def test_a_reroute_leaves_what_was_compared_and_sorts_all_else(layout: Layout) -> None:
    drop(layout, "a --seed 1 --best-of 3\nb --seed 5 --until-kept 1 --at-most 2\nc --seed 8")
    scores = by_name({"L1-s1.": 3.0, "L1-s2.": 6.0, "L1-s3.": 5.9, "s5.": 5.5, "s6.": 7.0, "s8.": 6.6})
    daemon(layout, ScriptedExecutor(scores), GATE__REGENERATE_BELOW="1", GATE__UPSCALE="never").run(once=True)
    before = files_in(layout, "keep", "reject")
    assert before == [
        "keep/p-L1-s2.png", "keep/p-L2-s6.png", "keep/p-L3-s8.png",
        "reject/p-L1-s1.png", "reject/p-L1-s3.png", "reject/p-L2-s5.png",
    ]  # fmt: skip
    with Reader(layout.database) as reader:
        assert reader.misplaced_counts(6.5) == {"keep": 0, "reject": 0}  # the very threshold that it was judged by
        assert reader.misplaced_counts(5.5) == {"keep": 0, "reject": 1}
        assert [each["path"] for each in reader.misplaced(6.8, 10)] == ["keep/p-L3-s8.png"]
    mailbox.ask(layout, {"do": "reroute", "keep": 5.5})
    daemon(layout, ScriptedExecutor(scores)).run(once=True)
    assert files_in(layout, "keep", "reject") == [
        "keep/p-L1-s2.png", "keep/p-L2-s5.png", "keep/p-L2-s6.png", "keep/p-L3-s8.png",
        "reject/p-L1-s1.png", "reject/p-L1-s3.png",
    ]  # fmt: skip
    with Shown(layout.database) as shown:
        columns = shown.columns()
        kinds = {reader_id: flags & 24 for reader_id, flags in zip(columns.ids, columns.flags, strict=True)}
        of_best = {row["path"] for row in shown.names([each for each, kind in kinds.items() if kind == OF_BEST])}
        changed = {id_: flags & 24 for id_, _, flags, _, _ in shown.changes(0, 100).rows}
    assert of_best == {"keep/p-L1-s2.png", "reject/p-L1-s1.png", "reject/p-L1-s3.png"}
    assert changed == kinds


def test_a_scorer_is_told_the_prompt_that_an_image_was_drawn_from(layout: Layout) -> None:
    drop(layout, "a (red:1.2) cat --seed 1 --best-of 2")
    executor = ScriptedExecutor(always(8.0))
    daemon(layout, executor).run(once=True)
    scored = [item.params for batch in executor.batches if batch.kind is Kind.SCORE for item in batch.items]
    judged = [params for params in scored if "measure" not in params]
    assert judged == [{"prompt": "a (red:1.2) cat"}] * 2
    assert len(scored) > len(judged)  # an enlarged one has its prompt in the database
    assert rows(layout, "SELECT DISTINCT prompt FROM results") == [("a (red:1.2) cat",)]


def test_the_rest_may_be_left_to_the_gate(layout: Layout) -> None:
    drop(layout, "a --seed 1 --best-of 3")
    scores = by_name({"s1.": 6.6, "s2.": 6.8, "s3.": 6.0})
    daemon(layout, ScriptedExecutor(scores), GATE__REST_OF_BEST="gate").run(once=True)
    assert files_in(layout, "keep", "reject") == ["keep/p-s1.png", "keep/p-s2.png", "reject/p-s3.png"]


def test_each_set_by_itself_and_no_other_seeds_for_it(layout: Layout) -> None:
    drop(layout, "a --seed 1 --best-of 2 --count 2\nb --seed 1 --best-of 2\nc --seed 9")
    daemon(layout, ScriptedExecutor(by_name({"L3": 9.0})), GATE__UPSCALE="10").run(once=True)
    assert rows(layout, "SELECT path FROM results WHERE verdict = 'keep' ORDER BY path") == [
        ("keep/p-L1-s1.png",), ("keep/p-L1-s3.png",), ("keep/p-L2-s1.png",), ("keep/p-L3-s9.png",),
    ]  # fmt: skip
    assert rows(layout, "SELECT count(*) FROM results") == [(7,)]


def test_a_set_is_decided_without_what_failed_of_it(layout: Layout) -> None:
    def script(kind: Kind, item: Item) -> float | FailedPicture:
        if kind is Kind.GENERATE and item.params["seed"] == 2:
            return FailedPicture("black", "another seed")
        return 4.0

    drop(layout, "a --seed 1 --best-of 3")
    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.failed == 1
    assert files_in(layout, "keep", "reject") == ["keep/p-s1.png", "reject/p-s3.png"]
    assert "failed/p.txt" in files_in(layout, "failed")


def test_what_is_left_of_a_set_by_a_cut_is_decided_at_the_next_start(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(layout, "a --seed 1 --best-of 4")
    first = daemon(layout, ScriptedExecutor(by_name({"s3.": 6.0})))

    def cut(*_: object, **__: object) -> None:
        raise SystemError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("hotfolder.routing.router.Router.chosen", cut)
        with pytest.raises(SystemError):
            first.run(once=True)
    assert files_in(layout, "keep", "reject") == []
    daemon(layout, ScriptedExecutor(by_name({}))).run(once=True)
    assert files_in(layout, "keep") == ["keep/p-s3.png"]
    assert len(files_in(layout, "reject")) == 3
    check_consistent(layout)


def test_a_cut_between_two_of_a_set_changes_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from hotfolder.publishing.publisher import Publisher

    drop(layout, "a --seed 1 --best-of 4 --keep 2")
    scores = by_name({"s1.": 3.0, "s2.": 6.0, "s3.": 5.0, "s4.": 2.0})
    move, count = Publisher._move, 0

    def cut_short(self: Publisher, wanted: Move, folders: set[str]) -> bool:
        nonlocal count
        if wanted.src.startswith(UNSCORED):
            count += 1
            if count == 3:
                raise SystemError("power cut")
        return move(self, wanted, folders)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "_move", cut_short)
        with pytest.raises(SystemError):
            daemon(layout, ScriptedExecutor(scores)).run(once=True)
    daemon(layout, ScriptedExecutor(scores)).run(once=True)
    assert files_in(layout, "keep", "reject") == [
        "keep/p-s2.png",
        "keep/p-s3.png",
        "reject/p-s1.png",
        "reject/p-s4.png",
    ]
    check_consistent(layout)


def test_what_was_tried_again_later_has_the_places_that_are_left(layout: Layout) -> None:
    failing = True

    def script(kind: Kind, item: Item) -> float | FailedPicture:
        if failing and kind is Kind.GENERATE and item.params["seed"] == 2:
            return FailedPicture("black", "another seed")
        return 9.0 if "s2." in (item.source or "") else 4.0

    drop(layout, "a --seed 1 --best-of 3")
    daemon(layout, ScriptedExecutor(script), GATE__UPSCALE="10").run(once=True)
    failing = False
    with Reader(layout.database) as reader:
        mailbox.ask(layout, {"do": "retry", "jobs": [failure["id"] for failure in reader.recent_failures()]})
    daemon(layout, ScriptedExecutor(script), GATE__UPSCALE="10").run(once=True)
    assert files_in(layout, "keep") == ["keep/p-s1.png"]
    assert files_in(layout, "reject") == ["reject/p-s2.png", "reject/p-s3.png"]


def test_taking_the_prompt_file_away_decides_what_was_judged(layout: Layout) -> None:
    def script(kind: Kind, item: Item) -> float | GenerationFailed:
        if kind is Kind.GENERATE and item.params["seed"] == 4:
            return GenerationFailed("chance", "again")
        if kind is Kind.SCORE:
            (layout.inbox(Kind.GENERATE) / "p.txt").unlink(missing_ok=True)
        return 4.0

    drop(layout, "a --seed 1 --best-of 4")
    daemon(layout, ScriptedExecutor(script), RETRY__BACKOFF_SECONDS="3").run(once=True)
    assert files_in(layout, "keep") == ["keep/p-s1.png"]
    assert len(files_in(layout, "reject")) == 2
    assert files_in(layout, ".hotfolder/unscored") == []


def test_a_cancel_leaves_what_is_being_judged_alone(layout: Layout) -> None:
    asked = False

    def script(kind: Kind, item: Item) -> float:
        nonlocal asked
        if kind is Kind.SCORE and not asked:
            asked = True
            mailbox.ask(layout, {"do": "cancel", "drops": [rows(layout, "SELECT id FROM drops")[0][0]]})
        return 6.6

    drop(layout, "a --seed 1 --count 2")
    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.done == 4
    check_consistent(layout)


def test_below_the_threshold_other_seeds_are_drawn_up_to_the_budget_and_it_says_so(layout: Layout) -> None:
    drop(layout, "a --seed 1")
    daemon(layout, ScriptedExecutor(lambda *_: 4.0), GATE__MAX_ATTEMPTS="4").run(once=True)
    found = rows(layout, "SELECT settings ->> 'try', settings ->> 'stopped' FROM images ORDER BY id")
    assert [stopped for _, stopped in found] == [
        None,
        None,
        None,
        "4 tries are as many as gate.max_attempts allows",
    ]
    assert [number for number, _ in found] == [None, 2, 3, 4]
    assert rows(layout, "SELECT count(DISTINCT seed) FROM results WHERE verdict = 'reject'") == [(4,)]


def test_time_is_a_budget_too(layout: Layout) -> None:
    drawn = 0

    def script(kind: Kind, _: Item) -> float:
        nonlocal drawn
        drawn += kind is Kind.GENERATE
        return 4.0

    def clock() -> float:
        """Each picture takes 2000 seconds to draw."""
        return time.time() + 2000 * drawn

    drop(layout, "a --seed 1")
    wanted = settings(layout, GATE__MAX_ATTEMPTS="100", GATE__MAX_SECONDS="5000")
    Daemon(layout.root, wanted, ScriptedExecutor(script), clock=clock).run(once=True)
    assert rows(layout, "SELECT count(*) FROM images") == [(4,)]  # 6000 s after the first was judged
    (stopped,) = rows(layout, "SELECT settings ->> 'stopped' FROM images ORDER BY id DESC LIMIT 1")[0]
    assert stopped == "the 5000 s of gate.max_seconds were over after 4 tries"


def test_a_try_that_is_good_enough_says_so(layout: Layout) -> None:
    drop(layout, "a --seed 1")
    daemon(layout, ScriptedExecutor(by_name({"s1.": 4.0}))).run(once=True)
    found = rows(layout, "SELECT settings ->> 'stopped' FROM images ORDER BY id")
    assert found == [(None,), ("try 2 was not below gate.regenerate_below",)]


@pytest.mark.parametrize(
    ("flag", "enlarged"),
    [
        ("", ["upscaled/p-s2_4x.png"]),
        ("--upscale", ["upscaled/p-s1_4x.png", "upscaled/p-s2_4x.png"]),
        ("--upscale no", []),
    ],
)
def test_a_prompt_says_whether_it_is_enlarged(layout: Layout, flag: str, enlarged: list[str]) -> None:
    drop(layout, f"a --seed 1 --count 3 {flag}")
    scores = by_name({"s1.": 6.6, "s2.": 8.0, "s3.": 5.5})
    daemon(layout, ScriptedExecutor(scores)).run(once=True)
    assert files_in(layout, "upscaled") == enlarged


def test_to_what_scale_is_the_prompts_too(layout: Layout) -> None:
    drop(layout, "a --seed 1 --best-of 2 --upscale 2")
    executor = ScriptedExecutor(lambda *_: 6.0)
    daemon(layout, executor).run(once=True)
    (batch,) = [batch for batch in executor.batches if batch.kind is Kind.UPSCALE]
    assert [item.params["scale"] for item in batch.items] == [2]


def test_prompts_of_one_shape_go_together(layout: Layout) -> None:
    lines = ["a", "b --width 64", "c", "d --negative_prompt x", "e --width 64", "f"]
    drop(layout, "\n".join(f"{line} --seed {seed}" for seed, line in enumerate(lines, 1)))
    executor = ScriptedExecutor(lambda *_: 6.0)
    daemon(layout, executor).run(once=True)
    seeds = [[i.params["seed"] for i in batch.items] for batch in executor.batches if batch.kind is Kind.GENERATE]
    assert seeds == [[1, 3, 6], [2, 5], [4]]


# --- images as prompts, and what prompts may name -------------------------------------------------


def generated(path: Path, **settings: object) -> None:
    """A picture that says how it was made."""
    known = {
        "prompt": "a cat",
        "seed": 7,
        "steps": 8,
        "guidance": 3.0,
        "width": 64,
        "height": 32,
        "sampler": "DDIM",
    }
    from PIL import Image

    told = {**known, "model": "shapes", **settings}
    staged = stage(Image.new("RGB", (8, 8), "red"), path.parent / "made", "x", "png", carried=explained(told))
    Path(staged.path).rename(path)


def test_an_image_is_its_own_prompt(layout: Layout) -> None:
    generated(layout.root / "x.png", negative_prompt="dog", lora={}, memory="full")
    (layout.root / "x.png").rename(layout.inbox(Kind.GENERATE) / "x.png")
    executor = ScriptedExecutor(lambda *_: 6.6)
    report = daemon(layout, executor).run(once=True)
    assert (report.done, report.failed) == (2, 0)
    params = executor.batches[0].items[0].params
    wanted = {"prompt": "a cat", "negative_prompt": "dog", "seed": 7, "steps": 8, "guidance": 3.0, "width": 64}
    assert wanted.items() <= dict(params).items()
    assert (params["height"], params["sampler"], params["model"]) == (32, "DDIM", "shapes")
    assert files_in(layout, "keep", "archive") == ["archive/x.png", "keep/x-s7.png"]


def test_the_same_again_means_no_default_of_the_configuration_and_no_other_seed(layout: Layout) -> None:
    generated(layout.root / "x.png")
    (layout.root / "x.png").rename(layout.inbox(Kind.GENERATE) / "x.png")
    executor = ScriptedExecutor(lambda *_: 2.0)
    more = {"GENERATE__NEGATIVE_PROMPT": "blurry", "GENERATE__STEPS": "30", "GENERATE__SAMPLER": "Euler"}
    daemon(layout, executor, **more).run(once=True)
    params = executor.batches[0].items[0].params
    assert (params.get("negative_prompt"), params["steps"], params["sampler"]) == ("", 8, "DDIM")
    assert files_in(layout, "keep", "reject") == ["reject/x-s7.png"]


def test_an_image_of_a_billion_pixels_is_read_without_any_of_them(layout: Layout) -> None:
    """What it says stands before its pixels, which nobody unpacks: there is no memory for them."""
    text = b"parameters\0a cat\nSteps: 3, Seed: 5, Size: 64x32, Model: shapes"
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)), (b"tEXt", text)]
    chunks += [(b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (layout.inbox(Kind.GENERATE) / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    executor = ScriptedExecutor(lambda *_: 6.6)
    assert daemon(layout, executor).run(once=True).failed == 0
    assert executor.batches[0].items[0].params["seed"] == 5


def test_an_image_that_says_nothing_goes_to_failed_with_a_sentence(layout: Layout) -> None:
    picture(layout.inbox(Kind.GENERATE) / "photo.png")
    (layout.inbox(Kind.GENERATE) / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    report = daemon(layout, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    assert report.failed == 2
    assert error_of(layout, "photo.png")["message"] == "photo.png does not say how it was generated"
    assert "cannot be read as an image" in error_of(layout, "broken.png")["message"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a --init-image ../outside.png", "is not below the root"),
        ("a --init-image /etc/passwd", "is not below the root"),
        ("a --init-image link.png", "is not below the root"),
        ("a --init-image pics/../../outside.png", "is not below the root"),
        ("a --init-image .hotfolder/lock", "lies where files come and go"),
        ("a --init-image inbox/score/x.png", "lies where files come and go"),
        ("a --init-image pics/none.png", "there is no init-image"),
        ("a --init-image pics", "there is no init-image"),
        ("a --lora nothing", "no LoRA is called 'nothing'"),
        ("a --lora ../x", "is not below the folders for models"),
        ("a --lora /etc/passwd", "is not below the folders for models"),
        ("a --model technical", "does not generate"),
        ("a --model ../../x", "is not below the folders for models"),
        ("a --negative_prompt b --guidance 1", "a negative prompt has no effect"),
        ("a <lora:../../../etc/passwd:1>", "is not below the folders for models"),
    ],
)
def test_what_a_prompt_names_lies_where_it_may(layout: Layout, text: str, says: str) -> None:
    picture(layout.root / "pics/a.png")
    picture(layout.root.parent / "outside.png")
    (layout.root / "link.png").symlink_to(layout.root.parent / "outside.png")
    drop(layout, text)
    executor = ScriptedExecutor(lambda *_: 6.6)
    assert daemon(layout, executor).run(once=True).failed == 1
    assert executor.batches == []
    assert says in error_of(layout, "p.txt")["message"]
    assert error_of(layout, "p.txt")["fix"]


def test_an_init_image_is_found_from_the_root_on(layout: Layout) -> None:
    picture(layout.root / "pics/a.png")
    drop(layout, "a --seed 1 --init-image pics/a.png --strength 0.5")
    executor = ScriptedExecutor(lambda *_: 6.6)
    daemon(layout, executor).run(once=True)
    params = executor.batches[0].items[0].params
    assert (params["init_image"], params["init_file"]) == ("pics/a.png", str(layout.root / "pics/a.png"))
    assert "width" not in params


def test_a_folder_of_ones_own_for_init_images(layout: Layout, tmp_path: Path) -> None:
    picture(tmp_path / "own/b.png")
    drop(layout, f"a --init-image {tmp_path}/own/b.png")
    executor = ScriptedExecutor(lambda *_: 6.6)
    daemon(layout, executor, GENERATE__INIT_FOLDERS=f'["{tmp_path}/own"]').run(once=True)
    assert executor.batches[0].items[0].params["init_file"] == f"{tmp_path}/own/b.png"


def test_a_lora_by_the_name_of_its_file(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = usual_folder() / "loras"
    folder.mkdir(parents=True)
    (folder / "pixel.safetensors").write_bytes(b"")
    drop(layout, "a --lora pixel:0.5")
    executor = ScriptedExecutor(lambda *_: 6.6)
    daemon(layout, executor).run(once=True)
    assert executor.batches[0].items[0].params["lora"] == (("pixel", 0.5),)
