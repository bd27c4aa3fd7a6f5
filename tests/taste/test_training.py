"""From verdicts in the ledger to a head's file: by the daemon, by itself, and as it is asked."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.tastes import prior_of, subject
from hotfolder.core.tastes import judging, told
from hotfolder.daemon.tasting import Tasting
from hotfolder.errors import ModelDamaged, ModelMissing, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.labels import LabelReader
from hotfolder.ledger.ledger import Ledger
from hotfolder.models import taste_heads
from hotfolder.status import mailbox
from hotfolder.taste import in_use, notes, training
from hotfolder.taste.explaining import explained
from hotfolder.taste.learning import Level
from hotfolder.taste.reports import last_report
from hotfolder.types import Kind
from tests.support.roots import daemon, rows, settings
from tests.support.tasting import Seeing, cull, drop, images, judged_root, work


@pytest.fixture(scope="module")
def culled_once(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A person has been through it, and a daemon has learnt by itself."""
    layout = judged_root(tmp_path_factory.mktemp("taste"))
    cull(layout)
    work(layout)
    return layout


@pytest.fixture
def culled(culled_once: Layout, tmp_path: Path) -> Layout:
    shutil.copytree(culled_once.root, tmp_path / "root", symlinks=True)
    return Layout(tmp_path / "root")


def asked(layout: Layout, command: dict[str, object]) -> dict[str, object]:
    path = mailbox.ask(layout, command)
    work(layout)
    answer = mailbox.answer_to(path, 0)
    assert answer is not None
    return answer


def study(layout: Layout) -> training.Trained:
    own = FolderSettings(layout.root, settings(layout))
    with LabelReader(layout.database) as reader:
        return training.study(layout, reader, subject(own, "score"))


def test_the_daemon_learns_by_itself_and_changes_nothing_by_itself(culled: Layout) -> None:
    report = last_report(culled, "score")
    assert report is not None and report["level"] == "direction"
    assert report["labels"] == 160 and report["direction"]["auc"] > 0.9
    head = taste_heads.read(culled.tastes / f"{report['offered']}.safetensors")
    assert head.facts.digest == report["digest"] and head.facts.labels == 160
    assert head.facts.strength is not None and head.facts.auc == report["direction"]["auc"]
    own = FolderSettings(culled.root, settings(culled))
    assert own.policy("inbox/score/a.png").models[Kind.SCORE] == "technical"


def test_a_head_scores_as_its_parts_and_stands_at_the_gate_where_the_person_does(culled: Layout) -> None:
    trained = study(culled)
    head, evidence = trained.offered, trained.gathered.evidence
    assert head is not None and trained.learnt.space is not None
    z = trained.learnt.space.of_contents(evidence.contents) @ trained.learnt.parameters
    for place in range(0, len(evidence.contents), 16):
        score = head.score(float(evidence.priors[place]), evidence.vectors[place])
        assert head.z(score) == pytest.approx(z[place], abs=1e-4)
        assert (score >= evidence.keep) == (z[place] >= 0) or abs(z[place]) < 1e-3
    own = FolderSettings(culled.root, settings(culled))
    with LabelReader(culled.database) as reader:
        name = (last_report(culled, "score") or {})["offered"]
        why = explained(culled, reader, subject(own, "score"), name, images(culled)[0][0])
    assert why is not None
    assert sum(each["points"] for each in why["parts"]) == pytest.approx(why["score"], abs=1e-12)
    assert len(why["like_kept"]) == 3 and len(why["like_rejected"]) == 3
    assert 0 <= why["chance"] <= 1


def test_the_same_labels_give_the_same_file(culled: Layout) -> None:
    before = {path.name: path.read_bytes() for path in culled.tastes.glob("*.safetensors")}
    trained = study(culled)
    training.save(culled, trained, 20)
    assert {path.name: path.read_bytes() for path in culled.tastes.glob("*.safetensors")} == before
    for name, content in before.items():
        assert hashlib.sha256(content).hexdigest()[:12] in name


def test_what_is_used_is_used_from_the_next_file_on_and_off_again(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    assert asked(culled, {"do": "taste", "what": "use", "inbox": "score", "head": name})["head"] == name
    own = FolderSettings(culled.root, settings(culled))
    assert own.policy("inbox/score/a.png").models[Kind.SCORE] == f"taste:{name}"
    assert own.policy("inbox/generate/a.txt").models[Kind.SCORE] == "technical"  # another inbox is untouched
    mixed = FolderSettings(culled.root, settings(culled, GATE__SCORE="0.7*technical + 0.3*taste"))
    assert mixed.policy("inbox/score/a.png").models[Kind.SCORE] == f"0.7*technical + 0.3*taste:{name}"
    assert mixed.policy("inbox/generate/a.txt").models[Kind.SCORE] == "0.7*technical + 0.3*technical"
    asked(culled, {"do": "taste", "what": "off", "inbox": "score"})
    assert own.policy("inbox/score/a.png").models[Kind.SCORE] == "technical"


def test_what_waits_is_judged_as_is_asked_now(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    ledger = Ledger.open(culled.database)
    tasting = Tasting(culled, FolderSettings(culled.root, settings(culled)), ledger, time.time)
    assert "error" not in tasting.obey({"what": "use", "inbox": "score", "head": name})
    mixed = f"0.5*technical + 0.5*taste:{name}"
    for job_id, model in ((1, f"taste:{name}"), (2, mixed), (3, "laion-v2")):
        ledger.database.execute(f"UPDATE jobs SET state = 'queued', model = '{model}' WHERE id = {job_id}")
    tasting.obey({"what": "off", "inbox": "score"})
    found = ledger.database.execute("SELECT model FROM jobs WHERE state = 'queued' ORDER BY id").rows
    ledger.close()
    assert [row["model"] for row in found] == ["technical", "0.5*technical + 0.5*technical", "laion-v2"]


@pytest.mark.parametrize(
    "command",
    [
        {"what": "use", "inbox": "score", "head": "score-3-0123456789ab"},
        {"what": "use", "inbox": "score", "head": "../../etc/passwd"},
        {"what": "use", "inbox": "nowhere", "head": "x"},
        {"what": "dance"},
        {"what": "pairs", "images": [1]},
        {"what": "labels", "inbox": "score", "labels": [["a", "keep", 1, 0, True]]},
        {"what": "labels", "inbox": "score", "labels": [["a", True, 7, 0, True]]},
        {"what": "labels", "inbox": "score", "labels": [["a", True, 1, 253402343999.0, True]]},
        {"what": "labels", "inbox": "score", "labels": [["a", True, 1, -1, True]]},
    ],
)
def test_what_makes_no_sense_is_an_answer_and_no_trouble(culled: Layout, command: dict[str, object]) -> None:
    assert "error" in asked(culled, {"do": "taste", **command})


def test_forgetting_leaves_no_trace(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    ids = [image_id for image_id, *_ in images(culled)]
    asked(culled, {"do": "taste", "what": "pairs", "images": ids[:3]})
    asked(culled, {"do": "taste", "what": "use", "inbox": "score", "head": name})
    connection = sqlite3.connect(culled.database)
    with connection:  # as a worker would record: the prior beside, and taste for the gate
        for gate, scorer in ((0, "technical"), (1, "taste"), (1, "0.5*technical + 0.5*taste")):
            connection.execute(
                "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, gate, "
                "created_at) VALUES (1, 5.5, ?, 'x', 'y', 'float32', ?, 1)", (scorer, gate),
            )  # fmt: skip
    answer = asked(culled, {"do": "taste", "what": "forget", "inbox": "score"})
    assert answer["heads"] == 1 and answer["looks"]
    left = [path.name for path in culled.tastes.iterdir()]
    assert left == ["notes.json"]
    said = json.loads((culled.tastes / "notes.json").read_text())["inboxes"]["score"]
    assert said["pairs"] == [] and said["labels"] == [] and said["since"] > 0
    assert connection.execute("SELECT count(*) FROM looks").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM scores WHERE scorer LIKE '%taste%'").fetchone() == (0,)
    assert connection.execute("SELECT scorer FROM images WHERE id = 1").fetchone() == ("technical",)
    connection.close()
    trained = study(culled)
    assert trained.gathered.evidence.labels == () and trained.learnt.level is Level.GATE


def test_pairs_and_labels_from_elsewhere_count(culled: Layout) -> None:
    ids = [image_id for image_id, *_ in images(culled)]
    assert asked(culled, {"do": "taste", "what": "pairs", "images": ids[:3]})["pairs"] == 2
    assert asked(culled, {"do": "taste", "what": "pairs", "images": ids[:3]})["pairs"] == 0  # known already
    trained = study(culled)
    assert len(trained.gathered.evidence.pairs) == 2
    asked(culled, {"do": "taste", "what": "forget", "inbox": "score"})
    with LabelReader(culled.database) as reader:
        rows = [(row["sha256"], row["id"]) for row in (reader.image_row(i) for i in ids) if row is not None]
    labels = [[sha256, number % 2 == 0, 1.0, float(number), True] for number, (sha256, _) in enumerate(rows)]
    assert asked(culled, {"do": "taste", "what": "labels", "inbox": "score", "labels": labels})["labels"] == len(
        ids
    )
    assert len(study(culled).gathered.evidence.labels) == len(ids)


def test_files_moved_in_one_sitting_say_that_those_between_were_right(tmp_path: Path) -> None:
    layout = judged_root(tmp_path, 30)
    kept = sorted(path for _, path, _ in images(layout) if path.startswith("keep/"))
    for path in (kept[1], kept[-2]):
        (layout.root / path).rename(layout.root / path.replace("keep/", "reject/"))
    work(layout)
    labels = study(layout).gathered.evidence.labels
    by_weight = sorted(label.weight for label in labels)
    assert by_weight == [0.3] * (len(kept) - 4) + [1.0, 1.0]
    assert all(label.agrees and label.keep for label in labels if label.weight == 0.3)


def test_a_direction_that_fails_is_not_looked_at_any_more(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    asked(culled, {"do": "taste", "what": "use", "inbox": "score", "head": name})
    with LabelReader(culled.database) as reader:
        contents = [row["sha256"] for row in reader.contents(0, 1000)]
    head = taste_heads.read(culled.tastes / f"{name}.safetensors")
    evidence = study(culled).gathered.evidence
    places = {content: place for place, content in enumerate(evidence.contents)}
    later, labels = head.facts.learnt_at + 60, []
    for number, content in enumerate(contents[:60]):  # the person says the opposite of what was learnt
        place = places[content]
        liked = head.score(float(evidence.priors[place]), evidence.vectors[place]) >= evidence.keep
        labels.append([content, not liked, 1.0, later + number, True])
    asked(culled, {"do": "taste", "what": "labels", "inbox": "score", "labels": labels})
    work(culled)
    used = in_use.InUse(culled.root).head("score")
    assert used is not None and used != name
    assert taste_heads.read(culled.tastes / f"{used}.safetensors").facts.level == "threshold"
    assert (last_report(culled, "score") or {})["lately"]["has_failed"] is True


def test_a_head_that_is_not_what_it_says_is_refused(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    path = culled.tastes / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelDamaged, match="not what its name says"):
        taste_heads.read(path)
    with pytest.raises(ModelMissing):
        taste_heads.read(culled.tastes / "score-1-0123456789ab.safetensors")
    with pytest.raises(ModelMissing):
        taste_heads.path_of(culled.tastes, "../x")


def test_files_of_ours_that_cannot_be_read_count_as_nothing(culled: Layout) -> None:
    for name in ("in-use.json", "notes.json", "report-score.json"):
        (culled.tastes / name).write_text("{]")
    assert in_use.InUse(culled.root).heads() == {}
    assert notes.of_inbox(culled, "score").pairs == []
    assert last_report(culled, "score") is None
    work(culled)


def test_a_file_of_ours_that_cannot_be_read_is_not_replaced(culled: Layout) -> None:
    """What it holds of other inboxes is not lost by the next thing that is said."""
    ids = [image_id for image_id, *_ in images(culled)[:2]]
    name = (last_report(culled, "score") or {})["offered"]
    commands: dict[str, list[dict[str, object]]] = {
        "notes.json": [{"what": "pairs", "images": ids}, {"what": "forget", "inbox": "score"}],
        "in-use.json": [{"what": "use", "inbox": "score", "head": name}, {"what": "forget", "inbox": "score"}],
    }
    for file, asks in commands.items():
        (culled.tastes / file).write_text("{]")
        for command in asks:
            answer = asked(culled, {"do": "taste", **command})
            assert f"taste/{file} cannot be read" in str(answer["error"]), command
            assert str(culled.root) not in str(answer)
        assert (culled.tastes / file).read_text() == "{]"
        (culled.tastes / file).unlink()
    assert (culled.tastes / f"{name}.safetensors").exists()
    assert asked(culled, {"do": "taste", "what": "pairs", "images": ids})["pairs"] == 1


def test_what_is_odd_in_one_inbox_does_not_end_the_daemon(culled: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("year 10000 is out of range")

    monkeypatch.setattr(training, "save", fail)
    ids = [image_id for image_id, *_ in images(culled)]
    with LabelReader(culled.database) as reader:
        rows = [row for row in (reader.image_row(image_id) for image_id in ids[:12]) if row is not None]
    labels = [[row["sha256"], True, 1.0, time.time(), True] for row in rows]
    assert asked(culled, {"do": "taste", "what": "labels", "inbox": "score", "labels": labels})["labels"] == 12
    work(culled)


@pytest.mark.parametrize(("scorer", "by"), [("0.5*technical + 0.5*taste", "taste"), ("technical", "gate")])
def test_a_verdict_says_whether_taste_was_asked(culled: Layout, scorer: str, by: str) -> None:
    drop(culled, 1, 999)
    daemon(culled, Seeing(scorer), WATCH__MODE="polling", GATE__UPSCALE="never").run(once=True)
    assert rows(culled, 'SELECT "by" FROM verdicts ORDER BY image_id DESC LIMIT 1') == [(by,)]


def test_formulas() -> None:
    assert judging("technical", "technical", None) == "technical"
    assert judging("technical", "technical", "score-3-0123456789ab") == "taste:score-3-0123456789ab"
    assert judging("0.7*laion-v2 + 0.3*taste", "laion-v2", None) == "0.7*laion-v2 + 0.3*laion-v2"
    text = judging("min(taste, technical)", "technical", "my inbox-3-0123456789ab")
    assert told(text) == "min(taste, technical)"
    assert told("technical") == "technical"


def test_taste_is_no_scorer_of_its_own(culled: Layout) -> None:
    with pytest.raises(UsageError, match="learnt beside another"):
        settings(culled, SCORE__SCORER="taste")


def test_taste_is_not_learnt_beside_a_scorer_that_judges_by_the_prompt(layout: Layout) -> None:
    by_prompt = FolderSettings(layout.root, settings(layout, SCORE__SCORER="clip-align"))
    with pytest.raises(UsageError, match="beside 'clip-align', which judges a picture by its prompt"):
        subject(by_prompt, "score")
    assert prior_of(by_prompt, "score") == "clip-align"  # what was learnt before can be forgotten all the same
