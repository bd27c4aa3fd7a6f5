"""From verdicts in the ledger to a head's file: by the daemon, by itself, and as it is asked."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from hotfolder.cli.taste import run_status
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
from hotfolder.taste.fit import LEAST_PRIOR
from hotfolder.taste.learning import HIGHEST, LOWEST, Level, Threshold
from hotfolder.taste.picture import Spread
from hotfolder.taste.reports import last_report
from hotfolder.taste.training import made
from hotfolder.types import Item, Kind, Outcome
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
    for job_id, state, model in (
        (1, "queued", f"taste:{name}"),
        (2, "queued", mixed),
        (3, "queued", "laion-v2"),
        (4, "failed", f"taste:{name}"),
        (5, "running", mixed),
    ):
        ledger.database.execute(f"UPDATE jobs SET state = '{state}', model = '{model}' WHERE id = {job_id}")
    tasting.obey({"what": "off", "inbox": "score"})

    def models() -> list[str]:
        found = ledger.database.execute("SELECT model FROM jobs WHERE id < 6 ORDER BY id").rows
        return [row["model"] for row in found]

    both = "0.5*technical + 0.5*technical"
    assert models() == ["technical", both, "laion-v2", "technical", both]
    tasting.obey({"what": "use", "inbox": "score", "head": name})
    assert models() == [f"taste:{name}", both, "laion-v2", "technical", both]  # what waits, and is the gate's
    tasting.obey({"what": "forget", "inbox": "score"})
    assert models() == ["technical", both, "laion-v2", "technical", both]
    ledger.close()


class Forgotten(Seeing):
    """Its head goes while the first picture is in work."""

    def __init__(self, layout: Layout, name: str) -> None:
        super().__init__("taste")
        self._gone = (layout.tastes / f"{name}.safetensors", layout.tastes / "in-use.json")

    def _work(self, kind: Kind, item: Item, answer: object) -> Outcome:
        outcome = super()._work(kind, item, answer)
        for path in self._gone:
            path.unlink(missing_ok=True)
        self._scorer = "technical"
        return outcome


def test_what_a_head_has_judged_that_is_gone_does_not_count(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    asked(culled, {"do": "taste", "what": "use", "inbox": "score", "head": name})
    drop(culled, 1, 999)
    executor = Forgotten(culled, name)
    daemon(culled, executor, WATCH__MODE="polling", GATE__UPSCALE="never", TASTE__TRAIN_AFTER="0").run(once=True)
    assert rows(culled, "SELECT state, model FROM jobs ORDER BY id DESC LIMIT 1") == [("done", "technical")]
    assert rows(culled, "SELECT scorer FROM images ORDER BY id DESC LIMIT 1") == [("technical",)]


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
        connection.execute(
            "UPDATE verdict_history SET given_by = 'taste', score = 5.5 WHERE image_id = 1 AND id = 1"
        )
    answer = asked(culled, {"do": "taste", "what": "forget", "inbox": "score"})
    assert answer["heads"] == 1 and answer["looks"]
    left = [path.name for path in culled.tastes.iterdir()]
    assert left == ["notes.json"]
    said = json.loads((culled.tastes / "notes.json").read_text())["inboxes"]["score"]
    assert said["pairs"] == [] and said["labels"] == [] and said["since"] > 0
    assert connection.execute("SELECT count(*) FROM looks").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM scores WHERE scorer LIKE '%taste%'").fetchone() == (0,)
    assert connection.execute("SELECT scorer FROM images WHERE id = 1").fetchone() == ("technical",)
    given = "SELECT count(*), count(score) FROM verdict_history WHERE given_by = 'taste'"
    assert connection.execute(given).fetchone() == (1, 0)
    connection.close()
    trained = study(culled)
    assert trained.gathered.evidence.labels == () and trained.learnt.level is Level.GATE


def test_scores_of_another_version_of_the_prior_are_not_compared(culled: Layout) -> None:
    """Else the threshold would stand between two scales."""
    ids = [image_id for image_id, *_ in images(culled)]
    connection = sqlite3.connect(culled.database)
    with connection:
        connection.execute(
            "UPDATE scores SET weights_sha256 = 'old', score = score - 3 WHERE image_id < ?", (ids[60],)
        )
    connection.close()
    gathered = study(culled).gathered
    assert gathered.unseen == 60 and len(gathered.evidence.labels) == 100
    assert float(gathered.evidence.priors.min()) > 4


def test_a_threshold_beside_a_direction_does_not_claim_the_directions_calibration(culled: Layout) -> None:
    trained = study(culled)
    assert trained.learnt.level is Level.DIRECTION and trained.offered is not None
    assert trained.offered.facts.calibration is not None
    plain = made(trained.gathered, trained.learnt, Level.THRESHOLD)
    assert plain.facts.calibration is None and plain.facts.brier is None


@pytest.mark.parametrize("kept", [2, 5, 8])
def test_verdicts_that_contradict_each_other_draw_no_line(
    culled: Layout, capsys: pytest.CaptureFixture[str], kept: int
) -> None:
    """Of ten pictures with any score so many are kept: no threshold says that, and a number would mean nothing."""
    asked(culled, {"do": "taste", "what": "forget", "inbox": "score"})
    with LabelReader(culled.database) as reader:
        found = [row for row in (reader.image_row(i) for i, *_ in images(culled)) if row is not None]
    found.sort(key=lambda row: row["score"])
    labels = [[row["sha256"], number % 10 < kept, 1.0, float(number), True] for number, row in enumerate(found)]
    asked(culled, {"do": "taste", "what": "labels", "inbox": "score", "labels": labels})
    trained = study(culled)
    assert trained.learnt.threshold is not None and not trained.learnt.threshold.is_line
    report = training.report(trained, None)
    assert (report["threshold"], report["draws_line"], report["level"]) == (None, False, "gate")
    assert trained.offered is None and trained.fallback is None
    assert Spread.of(trained).own is None
    run_status(culled.root, "score", culled.root / "taste.png", as_json=False)
    told = capsys.readouterr().out
    assert "your verdicts draw no line" in told and "you keep from" not in told and "◀ you" not in told
    run_status(culled.root, "score", None, as_json=True)
    (document,) = json.loads(capsys.readouterr().out)["tastes"]
    assert (document["threshold"], document["draws_line"], document["offered"]) == (None, False, None)


@pytest.mark.parametrize(
    ("at", "error", "a", "is_line"),
    [
        (6.0, 0.3, 1.0, True), (1.2, 0.8, 1.0, True), (9.5, 6.0, 1.0, True), (10.1, 0.3, 1.0, False),
        (-3.0, 9.0, 1.0, False), (5.0, 9.0, 1.0, False), (6.0, 0.3, LEAST_PRIOR, False),
    ],
)  # fmt: skip
def test_a_threshold_is_one_on_the_scale(at: float, error: float, a: float, is_line: bool) -> None:
    threshold = Threshold(at, at - error, at + error, a, 0.5)
    assert threshold.is_line is is_line
    lowest, highest = threshold.interval
    assert not is_line or LOWEST <= lowest <= at <= highest <= HIGHEST


def test_pairs_and_labels_from_elsewhere_count(culled: Layout) -> None:
    ids = [image_id for image_id, *_ in images(culled)]
    assert asked(culled, {"do": "taste", "what": "pairs", "images": ids[:3]})["pairs"] == 2
    assert asked(culled, {"do": "taste", "what": "pairs", "images": ids[:3]})["pairs"] == 0  # known already
    trained = study(culled)
    assert len(trained.gathered.evidence.pairs) == 2
    assert asked(culled, {"do": "taste", "what": "pairs", "images": [ids[1], ids[0]]})["pairs"] == 1
    first, second = notes.of_inbox(culled, "score").pairs  # who changes their mind has said it once
    assert (second.winner, second.loser) == (first.loser, first.winner) or second.winner != first.winner
    assert len({frozenset((each.winner, each.loser)) for each in (first, second)}) == 2
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


def test_what_only_seems_to_have_lain_between_is_no_label(tmp_path: Path) -> None:
    """Else pictures that nobody looked at become labels, or a word of the person is outweighed by the lack of one."""
    layout = judged_root(tmp_path, 40)
    kept = sorted((path, image_id) for image_id, path, _ in images(layout) if path.startswith("keep/"))
    for path in (kept[1][0], kept[-2][0]):
        (layout.root / path).rename(layout.root / path.replace("keep/", "reject/"))
    work(layout)
    between = [image_id for _, image_id in kept[2:-2]]
    deeper, sorted_later, said_once, looked_at, undone, brought, other_then = between[:7]
    add = (
        "INSERT INTO verdict_history "
        "(image_id, verdict, given_by, how, score, gate_keep, path, created_at, undone_at) "
        "VALUES (?, ?, ?, ?, 7, 6.5, 'x', ?, ?)"
    )
    later = time.time() + 60
    connection = sqlite3.connect(layout.database)
    with connection:
        connection.execute(
            "UPDATE images SET path = 'keep/' || substr(path, 6, 2) || '/x.png' WHERE id = ?", (deeper,)
        )
        connection.execute(add, (sorted_later, "keep", "gate", None, later, None))
        connection.execute(add, (said_once, "keep", "person", "key", 1.0, None))  # before anything was forgotten
        connection.execute(add, (said_once, "keep", "gate", None, 2.0, None))
        connection.execute(
            "INSERT INTO looks (image_id, verdict, weight, milliseconds, created_at) VALUES (?, 'keep', 1, 900, 1)",
            (looked_at,),
        )
        connection.execute(add, (undone, "reject", "person", "key", later, later))
        connection.execute(
            "UPDATE verdict_history SET verdict = 'reject', score = 5, gate_keep = 6.5 WHERE image_id = ?",
            (other_then,),
        )
    (content,) = connection.execute("SELECT sha256 FROM images WHERE id = ?", (brought,)).fetchone()
    contents = dict(connection.execute("SELECT sha256, id FROM images"))
    connection.close()
    notes.add(layout, "score", labels=[notes.SaidLabel(content, False, 1.0, 0.0)])
    found = {contents[label.content]: label for label in study(layout).gathered.evidence.labels}
    left = {image_id for image_id, label in found.items() if label.weight == 0.3}
    assert left == {undone, other_then, *between[7:]}
    assert not found[other_then].keep and found[other_then].agrees
    assert found[looked_at].weight == 1.0 and not found[brought].keep
    assert deeper not in found and sorted_later not in found


def test_labels_that_do_not_say_whether_they_agree_are_compared_with_the_gate(culled: Layout) -> None:
    """Corrections alone, brought from elsewhere, would teach the opposite, too."""
    asked(culled, {"do": "taste", "what": "forget", "inbox": "score"})
    with LabelReader(culled.database) as reader:
        found = [row for row in (reader.image_row(i) for i, *_ in images(culled)) if row is not None]
    wrong = [[row["sha256"], row["score"] < 6.5, 1.0, 0.0, None] for row in found]
    asked(culled, {"do": "taste", "what": "labels", "inbox": "score", "labels": wrong})
    trained = study(culled)
    assert trained.gathered.evidence.agreeing == 0.0 and trained.learnt.level is Level.GATE
    assert "corrections" in trained.learnt.why_not_more


@pytest.mark.parametrize("draws_line", [True, False])
def test_a_direction_that_fails_is_not_looked_at_any_more(
    culled: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, draws_line: bool
) -> None:
    """Then it is the threshold alone; by the score of these pictures there is none."""
    if draws_line:
        monkeypatch.setattr(Threshold, "is_line", True)
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
    if draws_line:
        assert used is not None and used != name
        assert taste_heads.read(culled.tastes / f"{used}.safetensors").facts.level == "threshold"
    else:
        assert used is None and "the score alone now" in caplog.text
    assert (last_report(culled, "score") or {})["lately"]["has_failed"] is True


def test_a_head_that_is_not_what_it_says_is_refused(culled: Layout) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    path = culled.tastes / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelDamaged, match="not what its name says"):
        taste_heads.read(path)
    with pytest.raises(ModelDamaged) as caught:
        taste_heads.read(path)
    assert str(culled.root) not in caught.value.message
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


def test_a_head_of_another_encoder_is_not_used_and_one_in_use_is_told_of(
    culled: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    name = (last_report(culled, "score") or {})["offered"]
    asked(culled, {"do": "taste", "what": "use", "inbox": "score", "head": name})
    connection = sqlite3.connect(culled.database)
    with connection:
        connection.execute("UPDATE embeddings SET encoder = 'technical/test/fedcba9876543210'")
    connection.close()
    own = FolderSettings(culled.root, settings(culled))
    ledger = Ledger.open(culled.database)
    tasting = Tasting(culled, own, ledger, time.time)
    for _ in range(2):
        tasting.work()
    told = [record.message for record in caplog.records if "does not fit" in record.message]
    assert len(told) == 1 and "is seen by technical/test/fedcba9876543210" in told[0]
    assert "is seen by" in tasting.obey({"what": "use", "inbox": "score", "head": name})["error"]
    own.change(settings(culled, SCORE__SCORER="laion-v2"))
    tasting.work()
    ledger.close()
    told = [record.message for record in caplog.records if "is judged by laion-v2" in record.message]
    assert len(told) == 1


def test_taste_is_not_learnt_beside_a_scorer_that_keeps_only_its_rating(layout: Layout) -> None:
    own = FolderSettings(layout.root, settings(layout, SCORE__SCORER="q-realign"))
    with pytest.raises(UsageError, match="beside 'q-realign': what it keeps of a picture is its rating"):
        subject(own, "score")


def test_taste_is_not_learnt_beside_a_scorer_that_judges_by_the_prompt(layout: Layout) -> None:
    by_prompt = FolderSettings(layout.root, settings(layout, SCORE__SCORER="clip-align"))
    with pytest.raises(UsageError, match="beside 'clip-align', which judges a picture by its prompt"):
        subject(by_prompt, "score")
    assert prior_of(by_prompt, "score") == "clip-align"  # what was learnt before can be forgotten all the same
