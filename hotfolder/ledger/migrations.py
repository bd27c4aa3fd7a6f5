"""The schema, one named step after the other; a step that was published is never changed."""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from hotfolder.ledger import prompt_words
from hotfolder.ledger.schema import refuse_newer

steps = Migrations("hotfolder")

_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {0}, 'unixepoch')"


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a database to the newest schema; each step is its own transaction. Raises LedgerError for a newer one."""
    refuse_newer(connection)
    steps.apply(Database(connection))


@steps()
def m001_drops_jobs_images_scores_journal(db: Database) -> None:
    db.conn.execute("""
        CREATE TABLE drops (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            path TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            inode INTEGER NOT NULL,
            device INTEGER NOT NULL,
            seen_at REAL NOT NULL,
            state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'placed', 'failed', 'gone')),
            placed_path TEXT,
            created_at REAL NOT NULL,
            finished_at REAL
        ) STRICT""")
    db.conn.execute("CREATE UNIQUE INDEX drops_open ON drops (path) WHERE state = 'open'")
    db.conn.execute("CREATE INDEX drops_path ON drops (path)")
    db.conn.execute("""
        CREATE TABLE images (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('generated', 'dropped', 'upscaled')),
            verdict TEXT CHECK (verdict IN ('keep', 'reject')),
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            parent_id INTEGER REFERENCES images (id),
            prompt TEXT,
            negative_prompt TEXT,
            seed INTEGER,
            model TEXT,
            settings TEXT NOT NULL DEFAULT '{}',
            source_file TEXT,
            job_id INTEGER,
            drop_id INTEGER REFERENCES drops (id),
            created_at REAL NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX images_path ON images (path)")
    db.conn.execute("CREATE INDEX images_parent ON images (parent_id)")
    db.conn.execute("""
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('generate', 'score', 'upscale')),
            state TEXT NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            drop_id INTEGER NOT NULL REFERENCES drops (id),
            source_file TEXT NOT NULL,
            source TEXT,
            model TEXT NOT NULL,
            params TEXT NOT NULL DEFAULT '{}',
            image_id INTEGER REFERENCES images (id),
            try_number INTEGER NOT NULL DEFAULT 1,
            attempt INTEGER NOT NULL DEFAULT 0,
            claim INTEGER NOT NULL DEFAULT 0,
            deaths INTEGER NOT NULL DEFAULT 0,
            not_before REAL NOT NULL DEFAULT 0,
            error_kind TEXT,
            error TEXT,
            fix TEXT,
            created_at REAL NOT NULL,
            started_at REAL,
            finished_at REAL
        ) STRICT""")
    db.conn.execute("CREATE INDEX jobs_state ON jobs (state, id)")
    db.conn.execute("CREATE INDEX jobs_drop ON jobs (drop_id)")
    db.conn.execute("CREATE INDEX jobs_image ON jobs (image_id)")
    db.conn.execute("""
        CREATE TABLE scores (
            id INTEGER PRIMARY KEY,
            image_id INTEGER NOT NULL REFERENCES images (id),
            score REAL NOT NULL,
            scorer TEXT NOT NULL,
            weights_sha256 TEXT NOT NULL,
            preprocessing TEXT NOT NULL,
            precision TEXT NOT NULL,
            job_id INTEGER,
            created_at REAL NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX scores_image ON scores (image_id, id)")
    db.conn.execute("""
        CREATE TABLE journal (
            id INTEGER PRIMARY KEY,
            publication TEXT NOT NULL,
            created_at REAL NOT NULL
        ) STRICT""")


@steps()
def m002_public_views(db: Database) -> None:
    time = _TIME.format
    db.conn.execute(f"""
        CREATE VIEW results AS
        SELECT images.id AS image_id, images.path, images.sha256, images.role, images.verdict,
               scores.score, scores.scorer, images.width, images.height, parents.path AS parent_path,
               images.prompt, images.negative_prompt, images.seed, images.model, images.source_file,
               images.job_id, {time("images.created_at")} AS created_at
        FROM images
        LEFT JOIN images AS parents ON parents.id = images.parent_id
        LEFT JOIN scores ON scores.id = (SELECT max(id) FROM scores WHERE image_id = images.id)""")
    db.conn.execute(f"""
        CREATE VIEW queue AS
        SELECT id AS job_id, kind, state, source_file, attempt, error_kind, error,
               {time("created_at")} AS created_at, {time("started_at")} AS started_at,
               {time("finished_at")} AS finished_at
        FROM jobs""")
    db.conn.execute("""
        CREATE VIEW score_gain AS
        SELECT parents.path AS parent_path, parents.score AS parent_score,
               results.path AS upscaled_path, results.score AS upscaled_score,
               results.score - parents.score AS gain
        FROM results
        JOIN images ON images.id = results.image_id
        JOIN results AS parents ON parents.image_id = images.parent_id
        WHERE results.role = 'upscaled' AND results.score IS NOT NULL AND parents.score IS NOT NULL""")


@steps()
def m003_several_scorers_and_embeddings(db: Database) -> None:
    """An image may have scores of several scorers; the gate looks at one. Contents keep their embeddings."""
    time = _TIME.format
    db.conn.execute("ALTER TABLE scores ADD COLUMN gate INTEGER NOT NULL DEFAULT 1")
    db.conn.execute("CREATE INDEX images_sha256 ON images (sha256)")
    db.conn.execute("""
        CREATE TABLE embeddings (
            sha256 TEXT NOT NULL,
            encoder TEXT NOT NULL,
            vector BLOB NOT NULL,
            UNIQUE (sha256, encoder)
        ) STRICT""")
    db.conn.execute("DROP VIEW score_gain")
    db.conn.execute("DROP VIEW results")
    db.conn.execute(f"""
        CREATE VIEW results AS
        SELECT images.id AS image_id, images.path, images.sha256, images.role, images.verdict,
               scores.score, scores.scorer, images.width, images.height, parents.path AS parent_path,
               images.prompt, images.negative_prompt, images.seed, images.model, images.source_file,
               images.job_id, {time("images.created_at")} AS created_at
        FROM images
        LEFT JOIN images AS parents ON parents.id = images.parent_id
        LEFT JOIN scores ON scores.id = (SELECT max(id) FROM scores WHERE image_id = images.id AND gate)""")
    # The gain compares like with like: the parent's newest score by the very scorer that judged the enlarged one.
    db.conn.execute("""
        CREATE VIEW score_gain AS
        SELECT parents.path AS parent_path, before.score AS parent_score,
               images.path AS upscaled_path, after.score AS upscaled_score,
               after.score - before.score AS gain
        FROM images
        JOIN images AS parents ON parents.id = images.parent_id
        JOIN scores AS after
          ON after.id = (SELECT max(id) FROM scores WHERE image_id = images.id AND gate)
        JOIN scores AS before
          ON before.id = (SELECT max(id) FROM scores
                          WHERE image_id = parents.id AND scorer = after.scorer
                            AND weights_sha256 = after.weights_sha256 AND preprocessing = after.preprocessing)
        WHERE images.role = 'upscaled'""")
    # Every scorer's newest score of every image.
    db.conn.execute(f"""
        CREATE VIEW image_scores AS
        SELECT images.id AS image_id, images.path, scores.scorer, scores.score, scores.gate AS is_gate,
               scores.weights_sha256, scores.preprocessing, scores.precision,
               {time("scores.created_at")} AS created_at
        FROM scores JOIN images ON images.id = scores.image_id
        WHERE scores.id = (SELECT max(id) FROM scores AS newer
                           WHERE newer.image_id = scores.image_id AND newer.scorer = scores.scorer)""")


@steps()
def m004_crashes(db: Database) -> None:
    """`crashes`: daemons that died while the job was claimed. `begun`: the worker really was at it, alone."""
    db.conn.execute("ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("CREATE INDEX jobs_due ON jobs (state, not_before)")


@steps()
def m005_answers_at_once(db: Database) -> None:
    """The score that counts stands in the image's row, and what people ask for has its index."""
    time = _TIME.format
    db.conn.execute("ALTER TABLE images ADD COLUMN score REAL")
    db.conn.execute("ALTER TABLE images ADD COLUMN scorer TEXT")
    db.conn.execute("""
        UPDATE images SET (score, scorer) = (
            SELECT score, scorer FROM scores WHERE image_id = images.id AND gate ORDER BY id DESC LIMIT 1)""")
    db.conn.execute("""
        CREATE TRIGGER newest_score AFTER INSERT ON scores WHEN NEW.gate BEGIN
            UPDATE images SET score = NEW.score, scorer = NEW.scorer WHERE id = NEW.image_id;
        END""")
    db.conn.execute("""
        CREATE TRIGGER removed_score AFTER DELETE ON scores WHEN OLD.gate BEGIN
            UPDATE images SET (score, scorer) = (
                SELECT score, scorer FROM scores WHERE image_id = OLD.image_id AND gate ORDER BY id DESC LIMIT 1)
            WHERE id = OLD.image_id;
        END""")
    db.conn.execute("CREATE INDEX images_score ON images (score)")
    db.conn.execute("CREATE INDEX images_created ON images (created_at, score, verdict, role)")
    db.conn.execute("CREATE INDEX images_prompt ON images (prompt, score, verdict)")
    db.conn.execute("CREATE INDEX images_model ON images (model, verdict)")
    db.conn.execute("CREATE INDEX images_role ON images (role, verdict)")
    db.conn.execute("CREATE INDEX images_drop ON images (drop_id)")
    db.conn.execute("CREATE INDEX jobs_kind ON jobs (kind, state)")
    db.conn.execute("CREATE INDEX jobs_finished ON jobs (state, finished_at, kind)")
    db.conn.execute("DROP VIEW results")
    db.conn.execute(f"""
        CREATE VIEW results AS
        SELECT images.id AS image_id, images.path, images.sha256, images.role, images.verdict,
               images.score, images.scorer, images.width, images.height, parents.path AS parent_path,
               images.prompt, images.negative_prompt, images.seed, images.model, images.source_file,
               images.job_id, {time("images.created_at")} AS created_at
        FROM images LEFT JOIN images AS parents ON parents.id = images.parent_id""")


@steps()
def m006_reroutes(db: Database) -> None:
    """Which images were sorted anew by another threshold, and where they were, so that it can be undone."""
    db.conn.execute("""
        CREATE TABLE reroutes (
            id INTEGER PRIMARY KEY,
            keep REAL NOT NULL,
            created_at REAL NOT NULL,
            undone_at REAL
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE reroute_moves (
            reroute_id INTEGER NOT NULL REFERENCES reroutes (id),
            image_id INTEGER NOT NULL REFERENCES images (id),
            verdict TEXT NOT NULL,
            UNIQUE (reroute_id, image_id)
        ) STRICT""")


@steps()
def m007_ratings(db: Database) -> None:
    """`rated`: the stars that were written beside, or into, an image, and the path that it had then.

    `rating_sha256`: what its file is about to be with stars in it; `made_sha256`: what it was before the first ones.
    """
    db.conn.execute("ALTER TABLE images ADD COLUMN rated TEXT")
    db.conn.execute("ALTER TABLE images ADD COLUMN made_sha256 TEXT")
    db.conn.execute("ALTER TABLE images ADD COLUMN rating_sha256 TEXT")
    db.conn.execute("ALTER TABLE images ADD COLUMN unrated INTEGER NOT NULL DEFAULT 1")
    db.conn.execute("CREATE INDEX images_unrated ON images (id) WHERE unrated AND score IS NOT NULL")
    db.conn.execute("""
        CREATE TRIGGER rate_again AFTER UPDATE OF path, verdict, score ON images
        WHEN NOT OLD.unrated
            AND (NEW.path IS NOT OLD.path OR NEW.verdict IS NOT OLD.verdict OR NEW.score IS NOT OLD.score)
        BEGIN
            UPDATE images SET unrated = 1 WHERE id = NEW.id;
        END""")


@steps()
def m008_typed_jobs_and_a_versioned_journal(db: Database) -> None:
    """What a job is for, its set and its first judgement have columns; a journal entry says how it is written."""
    db.conn.execute("ALTER TABLE jobs ADD COLUMN purpose TEXT CHECK (purpose IN ('judge', 'measure'))")
    db.conn.execute("ALTER TABLE jobs ADD COLUMN set_number INTEGER")
    db.conn.execute("ALTER TABLE jobs ADD COLUMN first_judged_at REAL")
    db.conn.execute("""
        UPDATE jobs SET purpose = CASE WHEN json_extract(params, '$.measure') THEN 'measure' ELSE 'judge' END
        WHERE kind = 'score'""")
    db.conn.execute("""
        UPDATE jobs SET set_number = json_extract(params, '$.set'), first_judged_at = json_extract(params, '$.since'),
            params = json_remove(params, '$.measure', '$.set', '$.since')
        WHERE kind != 'upscale' AND (params LIKE '%"measure"%' OR params LIKE '%"set"%' OR params LIKE '%"since"%')""")
    db.conn.execute("CREATE INDEX jobs_set ON jobs (drop_id, set_number) WHERE set_number IS NOT NULL")
    db.conn.execute("ALTER TABLE journal RENAME COLUMN publication TO entry")
    db.conn.execute("ALTER TABLE journal ADD COLUMN version INTEGER NOT NULL DEFAULT 1")
    db.conn.execute("ALTER TABLE journal ADD COLUMN job_id INTEGER")
    db.conn.execute("ALTER TABLE journal ADD COLUMN unreadable TEXT")
    db.conn.execute("""
        UPDATE journal SET job_id = json_extract(entry, '$.job_id') WHERE json_valid(entry)""")


@steps()
def m009_turns(db: Database) -> None:
    """Whatever waits is found by kind and model, however much else waits before it."""
    db.conn.execute("CREATE INDEX jobs_queued ON jobs (kind, model, id) WHERE state = 'queued'")


@steps()
def m010_verdicts(db: Database) -> None:
    """Who gave each verdict, which file each image is, what a person did in one go, and what was put back."""
    time = _TIME.format
    for column in (
        "inode INTEGER", "size INTEGER", "mtime_ns INTEGER", "gone_at REAL",
        "verdict_by TEXT CHECK (verdict_by IN ('gate', 'person', 'taste'))",
    ):  # fmt: skip
        db.conn.execute(f"ALTER TABLE images ADD COLUMN {column}")
    db.conn.execute("UPDATE images SET verdict_by = 'gate' WHERE verdict IS NOT NULL")
    db.conn.execute("ALTER TABLE drops ADD COLUMN restored_at REAL")
    db.conn.execute("CREATE INDEX drops_restored ON drops (id) WHERE restored_at IS NOT NULL")
    # `asked`: the command that asked for it. Carried out again after a crash, it is the same action.
    db.conn.execute("""
        CREATE TABLE actions (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('keep', 'reject', 'reroute', 'retry', 'restore')),
            asked TEXT UNIQUE,
            keep REAL,
            created_at REAL NOT NULL,
            undone_at REAL,
            undone_by TEXT
        ) STRICT""")
    db.conn.execute("CREATE INDEX actions_undone ON actions (undone_by) WHERE undone_by IS NOT NULL")
    db.conn.execute("""
        CREATE TABLE verdict_history (
            id INTEGER PRIMARY KEY,
            image_id INTEGER NOT NULL REFERENCES images (id),
            verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'reject')),
            given_by TEXT NOT NULL CHECK (given_by IN ('gate', 'person', 'taste')),
            how TEXT CHECK (how IN ('key', 'command', 'moved', 'seen', 'pair')),
            score REAL,
            gate_keep REAL,
            path_before TEXT,
            path TEXT NOT NULL,
            action_id INTEGER REFERENCES actions (id),
            created_at REAL NOT NULL,
            undone_at REAL
        ) STRICT""")
    db.conn.execute("CREATE INDEX verdict_history_image ON verdict_history (image_id, id)")
    db.conn.execute("""
        CREATE INDEX verdict_history_action ON verdict_history (action_id, image_id) WHERE action_id IS NOT NULL""")
    # Of a restore: where the file was. Of a retry: how the job had failed.
    db.conn.execute("""
        CREATE TABLE action_steps (
            id INTEGER PRIMARY KEY,
            action_id INTEGER NOT NULL REFERENCES actions (id),
            drop_id INTEGER NOT NULL,
            job_id INTEGER,
            path TEXT,
            attempt INTEGER,
            error_kind TEXT,
            error TEXT,
            fix TEXT,
            UNIQUE (action_id, drop_id, job_id)
        ) STRICT""")
    _history_of_reroutes(db)
    for view in ("score_gain", "image_scores", "results"):
        db.conn.execute(f"DROP VIEW {view}")
    # What is looked for by its path in a view is found by this index: the words have to be the same.
    db.conn.execute("CREATE INDEX images_place ON images (CASE WHEN gone_at IS NULL THEN path END)")
    place = "CASE WHEN {0}.gone_at IS NULL THEN {0}.path END".format
    db.conn.execute(f"""
        CREATE VIEW results AS
        SELECT images.id AS image_id, {place("images")} AS path, images.sha256, images.role, images.verdict,
               images.score, images.scorer, images.width, images.height, {place("parents")} AS parent_path,
               images.prompt, images.negative_prompt, images.seed, images.model, images.source_file,
               images.job_id, {time("images.created_at")} AS created_at
        FROM images LEFT JOIN images AS parents ON parents.id = images.parent_id""")
    db.conn.execute(f"""
        CREATE VIEW score_gain AS
        SELECT {place("parents")} AS parent_path, before.score AS parent_score,
               {place("images")} AS upscaled_path, after.score AS upscaled_score,
               after.score - before.score AS gain
        FROM images
        JOIN images AS parents ON parents.id = images.parent_id
        JOIN scores AS after
          ON after.id = (SELECT max(id) FROM scores WHERE image_id = images.id AND gate)
        JOIN scores AS before
          ON before.id = (SELECT max(id) FROM scores
                          WHERE image_id = parents.id AND scorer = after.scorer
                            AND weights_sha256 = after.weights_sha256 AND preprocessing = after.preprocessing)
        WHERE images.role = 'upscaled'""")
    db.conn.execute(f"""
        CREATE VIEW image_scores AS
        SELECT images.id AS image_id, {place("images")} AS path, scores.scorer, scores.score, scores.gate AS is_gate,
               scores.weights_sha256, scores.preprocessing, scores.precision,
               {time("scores.created_at")} AS created_at
        FROM scores JOIN images ON images.id = scores.image_id
        WHERE scores.id = (SELECT max(id) FROM scores AS newer
                           WHERE newer.image_id = scores.image_id AND newer.scorer = scores.scorer)""")
    db.conn.execute(f"""
        CREATE VIEW verdicts AS
        SELECT verdict_history.image_id, {place("images")} AS path, verdict_history.verdict,
               verdict_history.given_by AS "by", verdict_history.how, verdict_history.score,
               verdict_history.gate_keep, {time("verdict_history.created_at")} AS created_at
        FROM verdict_history JOIN images ON images.id = verdict_history.image_id
        WHERE verdict_history.undone_at IS NULL""")


def _history_of_reroutes(db: Database) -> None:
    """What was known of verdicts: the gate's first ones, and the reroutes that were not undone."""
    db.conn.execute("""
        INSERT INTO actions (id, kind, keep, created_at, undone_at)
        SELECT id, 'reroute', keep, created_at, undone_at FROM reroutes""")
    # Of several reroutes of an image min() takes the row of the first (sqlite.org, 'bare columns in an aggregate').
    db.conn.execute("""
        INSERT INTO verdict_history (image_id, verdict, given_by, score, path, created_at)
        SELECT images.id, coalesce(firsts.verdict, images.verdict), 'gate', images.score, images.path,
               images.created_at
        FROM images LEFT JOIN (
            SELECT reroute_moves.image_id, reroute_moves.verdict, min(reroute_moves.reroute_id)
            FROM reroute_moves JOIN reroutes ON reroutes.id = reroute_moves.reroute_id
            WHERE reroutes.undone_at IS NULL GROUP BY reroute_moves.image_id
        ) AS firsts ON firsts.image_id = images.id
        WHERE images.verdict IS NOT NULL ORDER BY images.id""")
    db.conn.execute("""
        INSERT INTO verdict_history (image_id, verdict, given_by, score, gate_keep, path_before, path, action_id,
            created_at)
        SELECT images.id, CASE moves.verdict WHEN 'keep' THEN 'reject' ELSE 'keep' END, 'gate', images.score,
               reroutes.keep, moves.verdict || substr(images.path, instr(images.path, '/')), images.path, reroutes.id,
               reroutes.created_at
        FROM reroute_moves AS moves JOIN reroutes ON reroutes.id = moves.reroute_id
        JOIN images ON images.id = moves.image_id
        WHERE reroutes.undone_at IS NULL ORDER BY reroutes.id, images.id""")
    db.conn.execute("DROP TABLE reroute_moves")
    db.conn.execute("DROP TABLE reroutes")


@steps()
def m011_changes_and_looks(db: Database) -> None:
    """`changed` grows with each change of an image, so that whoever watches asks for what is new alone.

    `looks`: images that a person looked at and left as they were. They are no verdicts: nothing is moved, and none is
    kept from being sorted anew. Of an image and a verdict there is one.
    """
    db.conn.execute("ALTER TABLE images ADD COLUMN changed INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("CREATE INDEX images_changed ON images (changed) WHERE changed > 0")
    for name, event in (
        ("image_added", "INSERT"),
        ("image_changed", "UPDATE OF path, sha256, verdict, verdict_by, score, gone_at"),
    ):
        db.conn.execute(f"""
            CREATE TRIGGER {name} AFTER {event} ON images BEGIN
                UPDATE images SET changed = coalesce((SELECT max(changed) FROM images WHERE changed > 0), 0) + 1
                WHERE id = NEW.id;
            END""")
    db.conn.execute("""
        CREATE TABLE looks (
            id INTEGER PRIMARY KEY,
            image_id INTEGER NOT NULL REFERENCES images (id),
            verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'reject')),
            score REAL,
            gate_keep REAL,
            weight REAL NOT NULL,
            milliseconds INTEGER NOT NULL,
            created_at REAL NOT NULL,
            UNIQUE (image_id, verdict)
        ) STRICT""")
    db.conn.execute("DROP VIEW verdicts")
    _view_of_verdicts(db)


@steps()
def m012_stars_words_and_places(db: Database) -> None:
    """Stars are a way of their own to give a verdict, and an action that can be taken back; prompts are found by their
    words; `place` is the priority of a job, below 0 before others, which `not_before` was until it had to wait.
    """
    db.conn.execute("DROP VIEW verdicts")
    # SQLite cannot change a CHECK: three tables are made anew, the one that the others refer to among them.
    db.conn.execute("""
        CREATE TABLE actions_new (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('keep', 'reject', 'stars', 'reroute', 'retry', 'restore')),
            asked TEXT UNIQUE,
            keep REAL,
            created_at REAL NOT NULL,
            undone_at REAL,
            undone_by TEXT
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE verdict_history_new (
            id INTEGER PRIMARY KEY,
            image_id INTEGER NOT NULL REFERENCES images (id),
            verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'reject')),
            given_by TEXT NOT NULL CHECK (given_by IN ('gate', 'person', 'taste')),
            how TEXT CHECK (how IN ('key', 'stars', 'command', 'moved', 'seen', 'pair')),
            score REAL,
            gate_keep REAL,
            path_before TEXT,
            path TEXT NOT NULL,
            action_id INTEGER REFERENCES actions_new (id),
            created_at REAL NOT NULL,
            undone_at REAL
        ) STRICT""")
    # Of stars: how many an image got, and what was known of its stars before.
    db.conn.execute("""
        CREATE TABLE action_steps_new (
            id INTEGER PRIMARY KEY,
            action_id INTEGER NOT NULL REFERENCES actions_new (id),
            drop_id INTEGER NOT NULL,
            job_id INTEGER,
            path TEXT,
            attempt INTEGER,
            error_kind TEXT,
            error TEXT,
            fix TEXT,
            image_id INTEGER,
            stars INTEGER,
            rated TEXT,
            UNIQUE (action_id, drop_id, job_id),
            UNIQUE (action_id, image_id)
        ) STRICT""")
    for table, columns in (
        ("actions", "id, kind, asked, keep, created_at, undone_at, undone_by"),
        (
            "verdict_history",
            "id, image_id, verdict, given_by, how, score, gate_keep, path_before, path, action_id, created_at,"
            " undone_at",
        ),
        ("action_steps", "id, action_id, drop_id, job_id, path, attempt, error_kind, error, fix"),
    ):
        db.conn.execute(f"INSERT INTO {table}_new ({columns}) SELECT {columns} FROM {table}")
    for table in ("verdict_history", "action_steps", "actions"):
        db.conn.execute(f"DROP TABLE {table}")
    _take_names(db, "actions", "verdict_history", "action_steps")
    db.conn.execute("CREATE INDEX actions_undone ON actions (undone_by) WHERE undone_by IS NOT NULL")
    db.conn.execute("CREATE INDEX verdict_history_image ON verdict_history (image_id, id)")
    db.conn.execute("""
        CREATE INDEX verdict_history_action ON verdict_history (action_id, image_id) WHERE action_id IS NOT NULL""")
    _view_of_verdicts(db)
    # What a person gave is shown in the gallery; what we write of scores is not, and there is much of it.
    db.conn.execute("""
        CREATE TRIGGER stars_changed AFTER UPDATE OF rated ON images
        WHEN NEW.rated IS NOT OLD.rated AND (NEW.rated LIKE '*%' OR OLD.rated LIKE '*%')
        BEGIN
            UPDATE images SET changed = coalesce((SELECT max(changed) FROM images WHERE changed > 0), 0) + 1
            WHERE id = NEW.id;
        END""")
    db.conn.execute("ALTER TABLE jobs ADD COLUMN place REAL NOT NULL DEFAULT 0")
    db.conn.execute("UPDATE jobs SET place = not_before, not_before = 0 WHERE not_before < 0")
    db.conn.execute("CREATE INDEX jobs_front ON jobs (place, id) WHERE state = 'queued' AND place < 0")
    if prompt_words.can_be(db.conn):
        prompt_words.make(db.conn)


def _take_names(db: Database, *tables: str) -> None:
    """The new tables get the names of those that were dropped.

    SQLite would read all views meanwhile, people's own among them, and find that what they read is not there yet.
    """
    db.conn.execute("PRAGMA legacy_alter_table = ON")
    try:
        for table in tables:
            db.conn.execute(f"ALTER TABLE {table}_new RENAME TO {table}")
    finally:
        db.conn.execute("PRAGMA legacy_alter_table = OFF")


def _view_of_verdicts(db: Database) -> None:
    time, place = _TIME.format, "CASE WHEN images.gone_at IS NULL THEN images.path END"
    db.conn.execute(f"""
        CREATE VIEW verdicts AS
        SELECT verdict_history.image_id, {place} AS path, verdict_history.verdict,
               verdict_history.given_by AS "by", verdict_history.how, verdict_history.score,
               verdict_history.gate_keep, {time("verdict_history.created_at")} AS created_at, 1.0 AS weight
        FROM verdict_history JOIN images ON images.id = verdict_history.image_id
        WHERE verdict_history.undone_at IS NULL
        UNION ALL
        SELECT looks.image_id, {place} AS path, looks.verdict, 'person' AS "by", 'seen' AS how, looks.score,
               looks.gate_keep, {time("looks.created_at")} AS created_at, looks.weight
        FROM looks JOIN images ON images.id = looks.image_id""")
