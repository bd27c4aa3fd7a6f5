"""What scripts and other programs may rely on: the views, their columns, and questions that are ready to be asked."""

from __future__ import annotations

#: What each view is, and each of its columns.
VIEWS = {
    "results": (
        "One row for each image that was judged, or is about to be.",
        {
            "image_id": "number of the image",
            "path": "where it is, relative to the root; null where its file is gone",
            "sha256": "of the file",
            "role": "`generated`, `dropped` or `upscaled`",
            "verdict": "`keep`, `reject`, or null where nobody said anything",
            "score": "the newest one that the gate looked at, 1 to 10; null before",
            "scorer": "who gave it: a scorer, or a formula of several",
            "width": "pixels, upright",
            "height": "pixels, upright",
            "parent_path": "of an enlarged image: what it was enlarged from",
            "prompt": "of a generated image, and of what was enlarged from it",
            "negative_prompt": "as for prompt",
            "seed": "as for prompt",
            "model": "that generated or enlarged it",
            "source_file": "the dropped file that it comes from",
            "job_id": "the job that made it, as in `queue`",
            "created_at": "UTC, ISO 8601",
        },
    ),
    "queue": (
        "One row for each piece of work, done ones included.",
        {
            "job_id": "number of the job",
            "kind": "`generate`, `score` or `upscale`",
            "state": "`queued`, `running`, `done`, `failed` or `cancelled`",
            "source_file": "the dropped file that asks for it",
            "attempt": "how often it was begun",
            "error_kind": "a stable word for what went wrong",
            "error": "the same as a sentence",
            "created_at": "UTC, ISO 8601",
            "started_at": "UTC, of the latest attempt",
            "finished_at": "UTC",
        },
    ),
    "score_gain": (
        "One row for each enlarged image and scorer that has judged both: did enlarging improve it?",
        {
            "parent_path": "the image before",
            "parent_score": "its score",
            "upscaled_path": "the enlarged one",
            "upscaled_score": "its score, by the same scorer, weights and preprocessing",
            "gain": "the difference",
        },
    ),
    "verdicts": (
        "One row for each verdict that counts, the newest of an image in force. What was undone is left out.",
        {
            "image_id": "as in `results`",
            "path": "where the image is now; null where its file is gone",
            "verdict": "`keep` or `reject`",
            "by": "`gate`, `person` or `taste`",
            "how": "a person's: `command`, `key` (in older records also stars that another program gave it), `stars`, "
            "`moved`, or `seen` (looked at in the gallery and left); else null",
            "score": "of that moment",
            "gate_keep": "the gate's threshold of that moment; null where it is not known",
            "created_at": "UTC, ISO 8601",
            "weight": "how much it says of a person's taste, 0 to 1",
        },
    ),
    "image_scores": (
        "Every scorer's newest score of every image.",
        {
            "image_id": "as in `results`",
            "path": "where the image is",
            "scorer": "who gave it",
            "score": "1 to 10",
            "is_gate": "1 for the one that the gate looked at",
            "weights_sha256": "of the scorer's weights",
            "preprocessing": "how the picture was prepared for it",
            "precision": "`float32`, `bfloat16`, `float16`",
            "created_at": "UTC, ISO 8601",
        },
    ),
}

#: Name, title and SQL of questions for Datasette.
CANNED: tuple[tuple[str, str, str], ...] = (
    (
        "best",
        "The best images, with what enlarging did",
        "SELECT r.path, round(r.score, 2) AS score, r.prompt, r.seed, round(g.gain, 2) AS gain FROM results AS r "
        "LEFT JOIN score_gain AS g ON g.parent_path = r.path WHERE r.verdict = 'keep' ORDER BY r.score DESC LIMIT 100",
    ),
    (
        "prompts",
        "Prompts by how much of them is kept",
        "SELECT prompt, count(*) AS images, round(avg(score), 2) AS mean, round(max(score), 2) AS best, "
        "round(avg(verdict = 'keep'), 2) AS kept FROM results WHERE prompt IS NOT NULL AND verdict IS NOT NULL "
        "GROUP BY prompt ORDER BY kept DESC, images DESC",
    ),
    (
        "disagreements",
        "Where you and the gate disagree",
        "SELECT path, verdict, round(score, 2) AS score, gate_keep, how, created_at FROM verdicts "
        "WHERE \"by\" = 'person' AND (verdict = 'keep') <> (score >= gate_keep) ORDER BY created_at DESC",
    ),
    (
        "days",
        "Images by day",
        "SELECT date(created_at) AS day, count(*) AS images, sum(verdict = 'keep') AS kept, "
        "round(avg(score), 2) AS mean FROM results WHERE role <> 'upscaled' GROUP BY day ORDER BY day DESC",
    ),
    (
        "failures",
        "What has failed",
        "SELECT job_id, kind, source_file, error_kind, error, finished_at FROM queue WHERE state = 'failed' "
        "ORDER BY finished_at DESC",
    ),
)
