-- Every query of the ledger. Each is found by its name; times are seconds since the epoch. A part stands in the queries in
-- which its name is, in braces: so a rule that several need is written once.

-- part: is_of_best
-- Whether a row of `images` is of a set of which the best are kept.
(images.role = 'generated' AND EXISTS (
    SELECT 1 FROM jobs WHERE jobs.id = images.job_id AND jobs.set_number IS NOT NULL
      AND json_extract(jobs.params, '$.best_of') IS NOT NULL))

-- part: stars_of_person
-- Those that a person gave a row of `images`; null where nobody did.
CASE WHEN substr(images.rated, 1, 1) = '*' THEN CAST(substr(images.rated, 2) AS INTEGER) END

-- name: add_drop
-- A file that is taken now.
INSERT INTO drops (kind, path, size, mtime_ns, inode, device, seen_at, created_at)
VALUES (:kind, :path, :size, :mtime_ns, :inode, :device, :seen_at, :now)
RETURNING id;

-- name: open_drops
-- Files that are taken and still lie in their inbox.
SELECT * FROM drops WHERE state = 'open';

-- name: drop
SELECT * FROM drops WHERE id = :id;

-- name: drops_by_id
SELECT * FROM drops WHERE id IN (SELECT value FROM json_each(:ids));

-- name: last_drop_of_path
-- What became of the file that was dropped under this path most recently.
SELECT drops.*, coalesce(images.path, drops.placed_path) AS lies, images.gone_at
FROM drops LEFT JOIN images ON images.drop_id = drops.id AND images.role = 'dropped'
WHERE drops.path = :path ORDER BY drops.id DESC LIMIT 1;

-- name: placed_lately
-- Where dropped files lie that left an inbox lately, the newest first; of those whose path is from here to there. The plus
-- keeps SQLite from looking through all drops in the order of their ids.
SELECT drops.id, drops.path AS dropped, coalesce(images.path, drops.placed_path) AS path
FROM drops LEFT JOIN images ON images.drop_id = drops.id AND images.role = 'dropped'
WHERE drops.path >= :first AND drops.path < :last AND drops.state IN ('placed', 'failed')
  AND drops.finished_at >= :since AND drops.placed_path IS NOT NULL
ORDER BY +drops.id DESC LIMIT 100;

-- name: close_drop
UPDATE drops SET state = :state, placed_path = :placed_path, finished_at = :now WHERE id = :id;

-- name: cancel_jobs_of_drop
-- The file changed or was taken away: what it asked for itself, and is still queued, makes no sense any more.
-- Jobs for images that were made of it already go on.
UPDATE jobs SET state = 'cancelled', error_kind = :error_kind, error = :error, finished_at = :now
WHERE drop_id = :drop_id AND state IN ('queued', 'running')
  AND kind = (SELECT kind FROM drops WHERE id = :drop_id);

-- name: cancel_drop
-- A person does not want it any more: nothing that waits is begun, of whatever kind, of all of the file or of one line.
-- An image belongs to the line that the job has which drew it, or what it was enlarged from. What the journal holds is
-- being published: see mark_cancelled.
UPDATE jobs SET state = 'cancelled', error_kind = :error_kind, error = :error, fix = :fix, finished_at = :now
WHERE drop_id = :drop_id AND state IN ('queued', 'running')
  AND id NOT IN (SELECT job_id FROM journal WHERE job_id IS NOT NULL AND unreadable IS NULL)
  AND (:line IS NULL OR json_extract(params, '$.line') = :line OR EXISTS (
    SELECT 1 FROM images LEFT JOIN images AS parents ON parents.id = images.parent_id
    JOIN jobs AS made ON made.id = coalesce(parents.job_id, images.job_id)
    WHERE images.id = jobs.image_id AND json_extract(made.params, '$.line') = :line))
RETURNING id;

-- name: mark_cancelled
-- Its result is about to be put into its place, or waits for that: nothing is to follow from it.
UPDATE jobs SET error_kind = :error_kind, error = :error, fix = :fix
WHERE drop_id = :drop_id AND state = 'running' AND id IN (SELECT job_id FROM journal)
  AND (:line IS NULL OR json_extract(params, '$.line') = :line);

-- name: cancel_jobs
-- The same of some jobs, whatever else there is of their files.
UPDATE jobs SET state = 'cancelled', error_kind = :error_kind, error = :error, fix = :fix, finished_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('queued', 'running')
  AND id NOT IN (SELECT job_id FROM journal WHERE job_id IS NOT NULL AND unreadable IS NULL)
RETURNING id, drop_id, source_file, source;

-- name: set_is_cancelled
-- Whether a person has cancelled something of a set, also where its result is on its way: see mark_cancelled.
SELECT 1 FROM jobs
WHERE drop_id = :drop_id AND set_number = :set AND state IN ('cancelled', 'running') AND error_kind = 'cancelled' LIMIT 1;

-- name: drops_waited_for
-- Files that lie in an inbox still, or of which something is to be done.
SELECT id FROM drops WHERE state = 'open'
UNION SELECT drop_id FROM jobs WHERE state IN ('queued', 'running') ORDER BY 1;

-- name: left_unscored
-- Drawn images that nothing is queued for: they were cancelled before they had their score.
SELECT * FROM images
WHERE path >= '.hotfolder/unscored/' AND path < '.hotfolder/unscored0' AND +score IS NULL
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE image_id = images.id AND state IN ('queued', 'running'));

-- name: open_jobs_of_drop
SELECT id FROM jobs WHERE drop_id = :drop_id AND state IN ('queued', 'running');

-- name: lines_of_drop
-- On which lines of a prompt file prompts stand; in a structured one, their numbers. None where it has a single one.
SELECT DISTINCT json_extract(params, '$.line') AS line FROM jobs
WHERE drop_id = :drop_id AND json_extract(params, '$.line') IS NOT NULL;

-- name: open_jobs_of_image
SELECT id FROM jobs WHERE image_id = :image_id AND state IN ('queued', 'running');

-- name: cancelled_of_image
-- What of the work at an image a person has cancelled, and not asked for again. A job that has enlarged it is about what
-- it made.
SELECT kind FROM jobs
WHERE image_id = :image_id AND state = 'cancelled' AND error_kind = 'cancelled'
  AND NOT EXISTS (SELECT 1 FROM jobs AS newer
      WHERE newer.image_id = jobs.image_id AND newer.kind = jobs.kind AND newer.id > jobs.id)
  AND NOT (kind = 'upscale' AND EXISTS (SELECT 1 FROM images
      WHERE parent_id = :image_id AND role = 'upscaled' AND created_at >= jobs.finished_at));

-- name: finished_drops
-- Open drops all of whose jobs have ended.
SELECT * FROM drops
WHERE state = 'open'
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE drop_id = drops.id AND state IN ('queued', 'running'))
LIMIT :most;

-- name: finished_drops_among
-- The same among these. The plus keeps SQLite from looking through all open drops.
SELECT * FROM drops
WHERE +state = 'open' AND id IN (SELECT value FROM json_each(:ids))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE drop_id = drops.id AND state IN ('queued', 'running'))
LIMIT :most;

-- name: failed_jobs_of_drop
SELECT id, kind, source, attempt, error_kind, error, fix FROM jobs
WHERE drop_id = :drop_id AND state = 'failed' ORDER BY id;

-- name: add_job
INSERT INTO jobs (kind, state, drop_id, source_file, source, model, params, purpose, set_number, first_judged_at,
    image_id, try_number, place, error_kind, error, fix, created_at, finished_at)
VALUES (:kind, :state, :drop_id, :source_file, :source, :model, :params, :purpose, :set_number, :first_judged_at,
    :image_id, :try_number, :place, :error_kind, :error, :fix, :now, :finished_at);

-- name: runnable_groups
-- Kinds and models of which some job may be claimed. From one to the next by the index of queued jobs, however many
-- there are of each; a job that has to wait hides no other of its group. Left to itself, SQLite would sort all of them.
WITH RECURSIVE firsts (id, kind, model) AS (
    SELECT * FROM (SELECT id, kind, model FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND kind > ''
        ORDER BY kind, model, id LIMIT 1)
    UNION ALL
    SELECT jobs.id, jobs.kind, jobs.model FROM firsts JOIN jobs ON jobs.id = coalesce(
        (SELECT id FROM jobs INDEXED BY jobs_queued
         WHERE state = 'queued' AND kind = firsts.kind AND model > firsts.model ORDER BY model, id LIMIT 1),
        (SELECT id FROM jobs INDEXED BY jobs_queued
         WHERE state = 'queued' AND kind > firsts.kind ORDER BY kind, model, id LIMIT 1))
)
SELECT kind, model, (
    SELECT id FROM jobs INDEXED BY jobs_queued
    WHERE state = 'queued' AND kind = firsts.kind AND model = firsts.model AND +not_before <= :now
    ORDER BY id LIMIT 1) AS oldest
FROM firsts WHERE oldest IS NOT NULL ORDER BY oldest;

-- name: runnable
-- Jobs of a kind and model that may be claimed, oldest first; enough of them to choose a batch from. The plus keeps
-- SQLite from taking the index of not_before, by which it would have to sort the whole queue.
SELECT * FROM jobs
WHERE state = 'queued' AND kind = :kind AND model = :model AND +not_before <= :now ORDER BY id LIMIT :most;

-- name: front
-- Jobs with a priority that may be claimed, in the order in which they go: the lower their place below 0, the sooner.
SELECT id, kind, model, place FROM jobs
WHERE state = 'queued' AND place < 0 AND +not_before <= :now ORDER BY place, id LIMIT 1000;

-- name: queued_by_id
SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued';

-- name: first_place
-- The place before all others.
SELECT min(0, coalesce((SELECT min(place) FROM jobs WHERE state = 'queued' AND place < 0), 0)) AS place;

-- name: go_first
-- A person wants it first, and what will follow from it, too: what waits to be tried again waits no longer.
UPDATE jobs SET place = :place, not_before = 0
WHERE state IN ('queued', 'running')
  AND (drop_id IN (SELECT value FROM json_each(:drops)) OR id IN (SELECT value FROM json_each(:ids)))
RETURNING id, drop_id, source_file, source;

-- name: bring_forward
-- Jobs that wait get a priority, unless they have a higher one.
UPDATE jobs SET place = :place
WHERE state = 'queued' AND id IN (SELECT value FROM json_each(:ids)) AND place > :place;

-- name: place_of_job
SELECT place, error_kind FROM jobs WHERE id = :id;

-- name: place_of_image
-- Of the job that made it.
SELECT jobs.place FROM images JOIN jobs ON jobs.id = images.job_id WHERE images.id = :id;

-- name: next_due
-- When the first job that has to wait may be claimed.
SELECT min(not_before) AS due FROM jobs WHERE state = 'queued';

-- name: claim
-- One statement, so that no other claim can come between. The attempt counts from here.
UPDATE jobs SET state = 'running', attempt = attempt + 1, claim = claim + 1, begun = 0, started_at = :now
WHERE state = 'queued' AND id IN (SELECT value FROM json_each(:ids))
RETURNING *;

-- name: release
-- Back into the queue, with the place that it had. `spent` is 1 when the attempt counts, `died` is 1 when a worker died
-- on it.
UPDATE jobs
SET state = 'queued', attempt = attempt - 1 + :spent, deaths = deaths + :died,
    not_before = max(:not_before, 0),
    error_kind = :error_kind, error = :error, fix = :fix, started_at = NULL
WHERE id = :id AND claim = :claim AND state = 'running';

-- name: recover_jobs
-- After a crash of the daemon: what was running goes alone next time, and is to blame only if it was in work alone
-- already when it happened, on any device the only one of its like. Journalled ones are being published.
UPDATE jobs SET state = 'queued', attempt = attempt - 1, crashes = crashes + 1, deaths = deaths + begun,
    started_at = NULL
WHERE state = 'running'
  AND id NOT IN (SELECT job_id FROM journal WHERE job_id IS NOT NULL AND unreadable IS NULL);

-- name: note_job
-- It has ended, and its result has to wait: why.
UPDATE jobs SET error_kind = :error_kind, error = :error, fix = :fix
WHERE id = :id AND state = 'running' AND error_kind IS NOT 'cancelled';

-- name: mark_begun
UPDATE jobs SET begun = 1 WHERE id = :id AND state = 'running';

-- name: poisonous
-- What has cost so many workers or daemons that it is not tried again.
SELECT * FROM jobs WHERE state = 'queued' AND deaths >= :deaths ORDER BY id;

-- name: failed_jobs
-- Every job that failed and has not been tried again, with where its file is now.
SELECT jobs.*, drops.placed_path, drops.state AS drop_state, drops.restored_at, images.path AS image_path
FROM jobs JOIN drops ON drops.id = jobs.drop_id LEFT JOIN images ON images.id = jobs.image_id
WHERE jobs.state = 'failed' ORDER BY jobs.id;

-- name: jobs_by_id
SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- name: requeue
-- A person wants it tried again: as if it had never been tried, and in its place. Its file may have got another name.
UPDATE jobs SET state = 'queued', attempt = 0, deaths = 0, crashes = 0, not_before = 0, error_kind = NULL,
    error = NULL, fix = NULL, started_at = NULL, finished_at = NULL,
    source = CASE WHEN :new_source IS NOT NULL AND source IS NOT NULL THEN :new_source ELSE source END
WHERE state = 'failed' AND id IN (SELECT value FROM json_each(:ids));

-- name: set_attempts
UPDATE jobs SET attempt = :attempts WHERE id = :id;

-- name: supersede
-- A person had it tried again as something new, or its file is gone: nothing is left to be tried again.
UPDATE jobs SET state = 'cancelled' WHERE state = 'failed' AND id IN (SELECT value FROM json_each(:ids));

-- name: clamp_waits
-- After the clock was set back: nothing waits for a time that is far ahead now.
UPDATE jobs SET not_before = :latest WHERE state = 'queued' AND not_before > :latest;

-- name: open_drops_at
SELECT id FROM drops WHERE path = :path AND state = 'open' AND id != :id;

-- name: reopen_drop
UPDATE drops SET state = 'open', path = :path, placed_path = NULL, finished_at = NULL WHERE id = :id;

-- name: images_of_drop
-- What came of a dropped file, the file itself among it where that is an image.
SELECT id FROM images WHERE drop_id = :drop_id ORDER BY id LIMIT :most;

-- name: jobs_of_drop
SELECT * FROM jobs WHERE drop_id = :drop_id ORDER BY id;

-- name: jobs_ahead
-- How many jobs stand before this one: those in work, those with a higher priority, and the older ones.
SELECT (SELECT count(*) FROM jobs WHERE state = 'running' AND id != :id) + CASE WHEN me.place < 0
    THEN (SELECT count(*) FROM jobs WHERE state = 'queued' AND place < 0 AND (place, id) < (me.place, me.id))
    ELSE (SELECT count(*) FROM jobs WHERE state = 'queued' AND place < 0)
        + (SELECT count(*) FROM jobs WHERE state = 'queued' AND id < me.id AND +place >= 0) END AS ahead
FROM jobs AS me WHERE id = :id;

-- name: finish_job
UPDATE jobs SET state = :state, error_kind = :error_kind, error = :error, fix = :fix, finished_at = :now,
    image_id = coalesce(:image_id, image_id)
WHERE id = :id;

-- name: add_image
INSERT INTO images (path, sha256, role, verdict, width, height, parent_id, prompt, negative_prompt, seed, model,
    settings, source_file, job_id, drop_id, inode, size, mtime_ns, created_at)
VALUES (:path, :sha256, :role, NULL, :width, :height, :parent_id, :prompt, :negative_prompt, :seed, :model,
    :settings, :source_file, :job_id, :drop_id, :inode, :size, :mtime_ns, :now)
RETURNING id;

-- name: move_image
-- Where the image is now, which file that is, and what is added to what its row says.
UPDATE images
SET path = :path, inode = :inode, size = :size, mtime_ns = :mtime_ns, gone_at = NULL,
    settings = CASE :settings WHEN '{}' THEN settings ELSE json_patch(settings, :settings) END
WHERE id = :id;

-- name: note_image
-- One more sentence for people, unless it says so already.
UPDATE images
SET settings = json_insert(json_insert(settings, '$.notes', json('[]')), '$.notes[#]', :note)
WHERE id = :id AND NOT EXISTS (SELECT 1 FROM json_each(images.settings, '$.notes') WHERE value = :note);

-- name: set_verdict
UPDATE images SET verdict = :verdict, verdict_by = :given_by WHERE id = :image_id;

-- name: add_verdict
-- As the image is at that moment. Of one action, an image has one verdict. Each is later than the one before, by the
-- millisecond that the view tells: the time of a move comes from the file system, whose clock lags by some.
INSERT INTO verdict_history (image_id, verdict, given_by, how, score, gate_keep, path_before, path, action_id,
    created_at)
SELECT id, :verdict, :given_by, :how, score, :gate_keep, :path_before, path, :action_id,
    max(:now, coalesce((SELECT max(created_at) + 0.001 FROM verdict_history WHERE image_id = :image_id), 0))
FROM images WHERE id = :image_id;

-- name: take_back_verdict
UPDATE verdict_history SET undone_at = :now
WHERE action_id = :action_id AND image_id = :image_id AND undone_at IS NULL;

-- name: verdict_in_force
-- The newest that was not taken back is the image's.
UPDATE images SET (verdict, verdict_by) = (
    SELECT verdict, given_by FROM verdict_history WHERE image_id = :image_id AND undone_at IS NULL
    ORDER BY id DESC LIMIT 1)
WHERE id = :image_id;

-- name: verdicts_of_action
-- A page of images that an action gave their verdicts; `is_last`: none was given to the image since.
SELECT given.image_id, given.path_before, given.path, NOT EXISTS (
        SELECT 1 FROM verdict_history AS newer
        WHERE newer.image_id = given.image_id AND newer.id > given.id AND newer.undone_at IS NULL) AS is_last
FROM verdict_history AS given
WHERE given.action_id = :action_id AND given.undone_at IS NULL AND given.image_id > :after
ORDER BY given.image_id LIMIT :most;

-- name: has_verdict_of
SELECT 1 FROM verdict_history WHERE action_id = :action_id AND image_id = :image_id LIMIT 1;

-- name: verdicts_of_image
-- All of them, the newest last.
SELECT verdict, given_by, how, score, gate_keep, created_at FROM verdict_history
WHERE image_id = :image_id AND undone_at IS NULL ORDER BY id;

-- name: known_files
-- Every image, where it is or was, and which file that is.
SELECT id, path, inode, size, mtime_ns, gone_at FROM images;

-- name: images_by_id
SELECT * FROM images WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- name: cancel_about
UPDATE jobs SET state = 'cancelled', error_kind = 'vanished', error = 'its file is gone', finished_at = :now
WHERE image_id = :image_id AND state = 'queued';

-- name: image_of_drop
SELECT id FROM images WHERE drop_id = :drop_id AND role = 'dropped' ORDER BY id DESC LIMIT 1;

-- name: see_image
-- Its file was seen: where, and which file it is.
UPDATE images SET path = :path, inode = :inode, size = :size, mtime_ns = :mtime_ns,
    unrated = unrated OR gone_at IS NOT NULL, gone_at = NULL
WHERE id = :id;

-- name: lose_image
UPDATE images SET gone_at = :now, unrated = 0 WHERE id = :id AND gone_at IS NULL;

-- name: jobs_follow
-- What waits to be done with an image is done with it where it is now.
UPDATE jobs SET source = :path WHERE image_id = :image_id AND state = 'queued' AND source IS NOT NULL;

-- name: cancel_enlarging
-- What a person rejected is not enlarged any more.
UPDATE jobs SET state = 'cancelled', error_kind = 'cancelled', error = 'you rejected it', finished_at = :now
WHERE image_id = :image_id AND kind = 'upscale' AND state = 'queued';

-- name: undecided
-- Judged images of sets of which the best are kept, and all of whose other jobs have ended; of these drops.
WITH open_sets AS (
    SELECT DISTINCT drop_id, set_number FROM jobs
    WHERE drop_id IN (SELECT value FROM json_each(:ids)) AND state IN ('queued', 'running')
      AND set_number IS NOT NULL)
SELECT images.*, jobs.params, jobs.set_number, jobs.first_judged_at FROM images JOIN jobs ON jobs.id = images.job_id
WHERE images.drop_id IN (SELECT value FROM json_each(:ids))
  AND images.verdict IS NULL AND images.score IS NOT NULL AND images.role = 'generated'
  AND jobs.set_number IS NOT NULL
  AND (images.drop_id, jobs.set_number) NOT IN (SELECT drop_id, set_number FROM open_sets)
ORDER BY images.id;

-- name: drops_with_sets
-- Of which something was judged and not decided.
SELECT DISTINCT images.drop_id FROM images JOIN jobs ON jobs.id = images.job_id
WHERE jobs.set_number IS NOT NULL AND images.verdict IS NULL AND images.score IS NOT NULL
  AND images.role = 'generated' AND images.drop_id IS NOT NULL;

-- name: kept_of_set
-- How many of a set are kept already.
SELECT count(*) AS kept FROM images JOIN jobs ON jobs.id = images.job_id
WHERE images.drop_id = :drop_id AND images.role = 'generated' AND images.verdict = 'keep'
  AND jobs.set_number = :set;

-- name: seeds_of_runs
-- All seeds of the prompts of an open file of which some are drawn until so many were kept. Read once, then followed.
SELECT id, set_number FROM jobs
WHERE drop_id = :drop_id AND set_number IS NOT NULL AND kind = 'generate'
  AND json_extract(params, '$.until_kept') IS NOT NULL
  AND EXISTS (SELECT 1 FROM drops WHERE id = :drop_id AND state = 'open')
ORDER BY id;

-- name: seeds_begun
-- What has become of these seeds: whether each is to be drawn or judged still, and what was kept of it. A picture that
-- lay there already is not of this file: its own work is not waited for.
SELECT jobs.id, iif(images.verdict = 'keep', images.id, NULL) AS kept,
    jobs.state IN ('queued', 'running') OR (images.drop_id = jobs.drop_id AND EXISTS (SELECT 1 FROM jobs AS judging
        WHERE judging.image_id = images.id AND judging.kind = 'score'
          AND judging.state IN ('queued', 'running'))) AS is_open
FROM jobs LEFT JOIN images ON images.id = jobs.image_id
WHERE jobs.id IN (SELECT value FROM json_each(:ids));

-- name: seeds_after
-- Seeds of a set that were begun after this one.
SELECT id FROM jobs
WHERE drop_id = :drop_id AND set_number = :set AND id > :after AND kind = 'generate' ORDER BY id;

-- name: newest_image_of_run
-- The newest picture of one of these seeds that this file has made.
SELECT images.id FROM jobs JOIN images ON images.id = jobs.image_id
WHERE jobs.id <= :last AND jobs.drop_id = :drop_id AND jobs.set_number = :set AND jobs.kind = 'generate'
  AND images.drop_id = :drop_id
ORDER BY jobs.id DESC LIMIT 1;

-- name: say_stopped
-- Why no other seed follows.
UPDATE images SET settings = json_set(settings, '$.stopped', :stopped)
WHERE id = :id AND settings ->> 'stopped' IS NOT :stopped;

-- name: adopt
UPDATE images SET parent_id = (SELECT id FROM images WHERE path = :parent) WHERE path = :child;

-- name: image
SELECT * FROM images WHERE id = :id;

-- name: image_by_path
-- What lies there; else what did.
SELECT results.*, images.drop_id, images.settings, images.gone_at, images.verdict_by
FROM images JOIN results ON results.image_id = images.id
WHERE images.path = :path ORDER BY images.gone_at IS NOT NULL, images.id DESC LIMIT 1;

-- name: images_of_content
-- Images of this content, whatever their files are called, the newest first.
SELECT id FROM images WHERE sha256 = :sha256 ORDER BY id DESC;

-- name: images_called
-- Results whose path ends so; `pattern` is one of LIKE, with backslashes.
SELECT path FROM results WHERE path LIKE :pattern ESCAPE '\' ORDER BY image_id DESC LIMIT :most;

-- name: drop_placed_at
-- The file that was dropped and lies here now.
SELECT * FROM drops WHERE placed_path = :path ORDER BY id DESC LIMIT 1;

-- name: add_score
-- `gate` is 1 for the score that the gate looks at, 0 for those beside it.
INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, gate, job_id, created_at)
VALUES (:image_id, :score, :scorer, :weights_sha256, :preprocessing, :precision, :gate, :job_id, :now);

-- name: score_of_image
SELECT score FROM scores
WHERE image_id = :image_id AND scorer = :scorer AND weights_sha256 = :weights_sha256
  AND preprocessing = :preprocessing
ORDER BY id DESC LIMIT 1;

-- name: add_new_score
-- The same, unless the image has a score by this very version of the scorer: for the gate, as the one it looks at.
INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, gate, job_id, created_at)
SELECT :image_id, :score, :scorer, :weights_sha256, :preprocessing, :precision, :gate, :job_id, :now
WHERE NOT EXISTS (
    SELECT 1 FROM scores AS had
    WHERE had.image_id = :image_id AND had.scorer = :scorer AND had.weights_sha256 = :weights_sha256
      AND had.preprocessing = :preprocessing
      AND (NOT :gate OR had.id = (SELECT max(id) FROM scores WHERE image_id = :image_id AND gate)));

-- name: add_embedding
-- One content has one embedding from one encoder, however many images hold it.
INSERT INTO embeddings (sha256, encoder, vector) VALUES (:sha256, :encoder, :vector) ON CONFLICT DO NOTHING;

-- name: size_of_content
SELECT width, height, prompt FROM images WHERE sha256 = :sha256 ORDER BY prompt IS NULL LIMIT 1;

-- name: scores_of_content
-- Every score that some image with this content has got.
SELECT scores.score AS value, scores.scorer, scores.weights_sha256, scores.preprocessing, scores.precision
FROM images JOIN scores ON scores.image_id = images.id
WHERE images.sha256 = :sha256 ORDER BY scores.id;

-- name: embeddings_of_content
SELECT encoder, vector FROM embeddings WHERE sha256 = :sha256;

-- name: contents
-- Every image that is there, with its content, a page at a time.
SELECT id, path, sha256, source_file FROM images WHERE id > :after AND gone_at IS NULL ORDER BY id LIMIT :most;

-- name: image_count
SELECT count(*) AS images FROM images WHERE gone_at IS NULL;

-- name: record
-- What is about to be done.
INSERT INTO journal (version, entry, job_id, created_at) VALUES (:version, :entry, :job_id, :now) RETURNING id;

-- name: rewrite_entry
UPDATE journal SET version = :version, entry = :entry WHERE id = :id;

-- name: pending_entries
SELECT id, version, entry, job_id FROM journal WHERE unreadable IS NULL ORDER BY id;

-- name: close_entry
DELETE FROM journal WHERE id = :id;

-- name: set_entry_aside
UPDATE journal SET unreadable = :why WHERE id = :id;

-- name: counts
-- The queue by kind and state.
-- Each pair is counted for itself: so no row of the index is compared with the one before it.
SELECT kinds.column1 AS kind, states.column1 AS state,
    (SELECT count(*) FROM jobs WHERE kind = kinds.column1 AND state = states.column1) AS jobs
FROM (VALUES ('generate'), ('score'), ('upscale')) AS kinds,
    (VALUES ('queued'), ('running'), ('done'), ('failed'), ('cancelled')) AS states;

-- name: open_job_count
SELECT count(*) AS jobs FROM jobs WHERE state IN ('queued', 'running');

-- name: running
SELECT id, kind, source_file, source, attempt, started_at FROM jobs
WHERE state = 'running' ORDER BY id LIMIT 20;

-- name: outcome_counts
-- Images by role and verdict.
SELECT role, verdict, count(*) AS images FROM images GROUP BY role, verdict;

-- name: outcome_counts_since
SELECT role, verdict, count(*) AS images FROM images WHERE created_at >= :since GROUP BY +role, +verdict;

-- name: pace
-- Jobs that ended well of late, by kind: how many, and the seconds that something of that kind was in work. What was
-- claimed together has the same start, and one batch is in work at a time.
SELECT kind, sum(jobs) AS jobs, sum(seconds) AS seconds
FROM (SELECT kind, count(*) AS jobs, max(finished_at) - started_at AS seconds FROM jobs
      WHERE state = 'done' AND finished_at >= :since AND started_at IS NOT NULL GROUP BY kind, started_at)
GROUP BY kind;

-- name: open_sorts
-- What waits or is in work, by what may follow from it, and by how it is drawn, or was; and how large the pictures are,
-- where that is known.
SELECT kind, is_measure, has_params, is_of_set, is_of_image, try_number, model, steps, strength, has_init_image,
    count(*) AS jobs, count(pixels) AS sized, coalesce(sum(pixels), 0) / 1e6 AS megapixels
FROM (SELECT jobs.kind, coalesce(jobs.purpose = 'measure', 0) AS is_measure, jobs.params != '{}' AS has_params,
          jobs.set_number IS NOT NULL AS is_of_set, jobs.image_id IS NOT NULL AS is_of_image, jobs.try_number,
          CASE WHEN jobs.kind = 'generate' THEN jobs.model
              WHEN jobs.kind = 'score' AND jobs.params != '{}' THEN images.model END AS model,
          jobs.params ->> 'steps' AS steps, jobs.params ->> 'strength' AS strength,
          jobs.params ->> 'init_image' IS NOT NULL AS has_init_image,
          CASE jobs.kind WHEN 'generate' THEN jobs.params ->> 'width' * (jobs.params ->> 'height')
              ELSE images.width * images.height END AS pixels
      FROM jobs LEFT JOIN images ON images.id = jobs.image_id WHERE jobs.state IN ('queued', 'running'))
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

-- name: judged_lately
-- Images that the gate has judged, the newest first, and whether they were enlarged, or are to be: so many that were drawn,
-- and so many that were dropped, if there are as many among the last thousands. The job that has enlarged one is about
-- the image that it made.
WITH last AS (
    SELECT jobs.id AS job_id, jobs.source_file, jobs.try_number, jobs.set_number IS NOT NULL AS is_of_set,
        jobs.finished_at, images.id, images.role, images.score, images.width * images.height / 1e6 AS megapixels,
        images.model, images.settings
    FROM jobs JOIN images ON images.id = jobs.image_id
    WHERE jobs.kind = 'score' AND jobs.state = 'done' AND jobs.purpose = 'judge' AND images.score IS NOT NULL
    ORDER BY jobs.id DESC LIMIT 2000),
counted AS (SELECT *, row_number() OVER (PARTITION BY role ORDER BY job_id DESC) AS number FROM last)
SELECT source_file, try_number, is_of_set, finished_at, role, score, megapixels, model,
    CASE role WHEN 'generated' THEN settings ->> 'steps' * coalesce(settings ->> 'strength', 1) END AS steps,
    EXISTS (SELECT 1 FROM jobs AS next WHERE next.image_id = counted.id AND next.kind = 'upscale')
        OR EXISTS (SELECT 1 FROM images AS larger WHERE larger.parent_id = counted.id) AS is_enlarged,
    (SELECT larger.width * larger.height / 1e6 FROM images AS larger WHERE larger.parent_id = counted.id
     ORDER BY larger.id DESC LIMIT 1) AS enlarged_megapixels
FROM counted WHERE number <= 200 ORDER BY job_id DESC;

-- name: batches_lately
-- The last batches of a kind that ended well: what was claimed together has the same start. The picture is the one that
-- was drawn, judged or enlarged; one that was drawn counts once for each step.
SELECT count(*) AS jobs, coalesce(sum(pixels), 0) / 1e6 AS megapixels, max(finished_at) - started_at AS seconds
FROM (SELECT jobs.started_at, jobs.finished_at,
          coalesce(originals.width * originals.height, images.width * images.height) * CASE jobs.kind WHEN 'generate'
              THEN images.settings ->> 'steps' * coalesce(images.settings ->> 'strength', 1) ELSE 1 END AS pixels
      FROM jobs LEFT JOIN images ON images.id = jobs.image_id
      LEFT JOIN images AS originals ON originals.id = images.parent_id AND jobs.kind = 'upscale'
      WHERE jobs.kind = :kind AND jobs.state = 'done' AND jobs.started_at IS NOT NULL
      ORDER BY jobs.id DESC LIMIT 200)
GROUP BY started_at HAVING max(finished_at) > started_at;

-- name: recent_failures
SELECT id, kind, source_file, error_kind, error, fix, finished_at FROM jobs
WHERE state = 'failed' ORDER BY finished_at DESC LIMIT :most;

-- name: failures_since
-- How many jobs have failed of late, and not been tried again.
SELECT count(*) AS jobs FROM jobs WHERE state = 'failed' AND finished_at >= :since;

-- name: results
SELECT * FROM results ORDER BY image_id;

-- name: score_gain
SELECT * FROM score_gain ORDER BY gain DESC;

-- name: best_images
-- The best first, for who reads as many as are wanted.
SELECT image_id, path, score, scorer, verdict, role, prompt, seed, model, created_at FROM results
WHERE score IS NOT NULL AND path IS NOT NULL AND (:verdict IS NULL OR verdict = :verdict)
ORDER BY score DESC, image_id;

-- name: best_images_since
-- The same of those since a moment. The plus keeps SQLite from looking through all others for them.
SELECT image_id, path, score, scorer, verdict, role, prompt, seed, model, created_at FROM results
WHERE image_id IN (SELECT id FROM images WHERE created_at >= :since AND score IS NOT NULL)
  AND (:verdict IS NULL OR verdict = :verdict)
ORDER BY +score DESC, image_id;

-- name: images_written_of
-- Those whose prompt, path, dropped file or notes are like every one of the patterns: of LIKE, with backslashes. The best
-- first. The plus keeps SQLite from going through the whole table in the order of the scores. json_each has a `path`, too.
SELECT id, path, prompt, source_file, CASE WHEN settings LIKE '%"notes"%' THEN settings ->> '$.notes' END AS notes
FROM images
WHERE gone_at IS NULL AND (:verdict IS NULL OR verdict = :verdict) AND (:since IS NULL OR created_at >= :since)
  AND NOT EXISTS (SELECT 1 FROM json_each(:patterns) AS wanted WHERE NOT (
    coalesce(prompt LIKE wanted.value ESCAPE '\', 0) OR images.path LIKE wanted.value ESCAPE '\'
    OR coalesce(source_file LIKE wanted.value ESCAPE '\', 0)
    OR coalesce(settings LIKE '%"notes"%' AND settings ->> '$.notes' LIKE wanted.value ESCAPE '\', 0)))
ORDER BY +score DESC, id;

-- name: embedded
-- Images that are there, by id, each with its embedding by one encoder; and whether it has this verdict, and is so new.
SELECT images.id, images.path, embeddings.vector,
    (:verdict IS NULL OR coalesce(verdict = :verdict, 0)) AND (:since IS NULL OR created_at >= :since) AS is_wanted
FROM images JOIN embeddings ON embeddings.sha256 = images.sha256 AND embeddings.encoder = :encoder
WHERE gone_at IS NULL ORDER BY images.id;

-- name: encoders
-- Of how many images that are there an encoder's embeddings are stored.
SELECT embeddings.encoder, count(*) AS images FROM images JOIN embeddings ON embeddings.sha256 = images.sha256
WHERE images.gone_at IS NULL GROUP BY embeddings.encoder;

-- name: image_count_in
SELECT count(*) AS images FROM images
WHERE gone_at IS NULL AND substr(path, 1, instr(path, '/') - 1) IN (SELECT value FROM json_each(:folders));

-- name: enlarged
-- Every enlarged image, and what it was enlarged from.
SELECT id, parent_id FROM images WHERE parent_id IS NOT NULL;

-- name: found_image
-- As it is told where images are listed.
SELECT image_id, path, score, scorer, verdict, role, prompt, seed, model, created_at FROM results WHERE image_id = :id;

-- name: original_of
-- What an image was enlarged from in the end; the image itself, where it was not enlarged from any.
WITH RECURSIVE above (id, parent_id) AS (
    SELECT id, parent_id FROM images WHERE id = :id
    UNION SELECT images.id, images.parent_id FROM above JOIN images ON images.id = above.parent_id)
SELECT id FROM above WHERE parent_id IS NULL;

-- name: best_prompts
-- An enlarged image is its original over again: it may be the best one, and counts no second time. What is enlarged is
-- taken off again, so that the rest is read from an index alone.
SELECT prompt, max(best) AS best, sum(total) / sum(images) AS mean, sum(images) AS images,
    sum(kept) AS kept, sum(judged) AS judged
FROM (SELECT prompt, max(score) AS best, sum(score) AS total, count(*) AS images,
          sum(verdict = 'keep') AS kept, sum(verdict IS NOT NULL) AS judged
      FROM images WHERE prompt IS NOT NULL AND score IS NOT NULL GROUP BY prompt
      UNION ALL
      SELECT prompt, NULL, -sum(score), -count(*), -sum(verdict = 'keep'), -sum(verdict IS NOT NULL)
      FROM images WHERE role = 'upscaled' AND prompt IS NOT NULL AND score IS NOT NULL GROUP BY prompt)
GROUP BY prompt HAVING sum(images) > 0 ORDER BY best DESC, prompt LIMIT :most;

-- name: best_prompts_since
-- The same since a moment. The plus keeps SQLite from looking through all prompts for them.
SELECT prompt, max(score) AS best, avg(score) FILTER (WHERE role <> 'upscaled') AS mean,
    count(*) FILTER (WHERE role <> 'upscaled') AS images,
    count(*) FILTER (WHERE role <> 'upscaled' AND verdict = 'keep') AS kept,
    count(*) FILTER (WHERE role <> 'upscaled' AND verdict IS NOT NULL) AS judged
FROM images WHERE created_at >= :since AND +prompt IS NOT NULL AND score IS NOT NULL
GROUP BY +prompt HAVING count(*) FILTER (WHERE role <> 'upscaled') > 0 ORDER BY best DESC, prompt LIMIT :most;

-- name: days
-- By days of the clock on the wall, newest first; `offset` is how far that is ahead of UTC, in seconds. From one day to
-- the one before it that has any: only the rows of the days that are asked for are read. Enlarged images count as above.
WITH RECURSIVE newest (day) AS (
    SELECT CAST((max(created_at) + :offset) / 86400 AS INTEGER) FROM images
    WHERE score IS NOT NULL AND role <> 'upscaled' AND created_at >= :since
    UNION ALL
    SELECT (SELECT CAST((max(created_at) + :offset) / 86400 AS INTEGER) FROM images
            WHERE created_at < newest.day * 86400 - :offset AND created_at >= :since
              AND score IS NOT NULL AND role <> 'upscaled')
    FROM newest WHERE newest.day IS NOT NULL LIMIT :most
)
SELECT newest.day AS day, max(score) AS best, avg(score) FILTER (WHERE role <> 'upscaled') AS mean,
    count(*) FILTER (WHERE role <> 'upscaled') AS images,
    count(*) FILTER (WHERE role <> 'upscaled' AND verdict = 'keep') AS kept,
    count(*) FILTER (WHERE role <> 'upscaled' AND verdict IS NOT NULL) AS judged
FROM newest JOIN images ON created_at >= max(newest.day * 86400 - :offset, :since)
    AND created_at < (newest.day + 1) * 86400 - :offset AND score IS NOT NULL
WHERE newest.day IS NOT NULL
GROUP BY newest.day ORDER BY newest.day DESC;

-- name: models
-- An enlarged image that has a verdict was rejected for its gain, and counts no second time: taken off again, as above.
SELECT model, sum(judged) AS judged, sum(kept) AS kept
FROM (SELECT model, count(*) AS judged, sum(verdict = 'keep') AS kept
      FROM images WHERE verdict IS NOT NULL GROUP BY model
      UNION ALL
      SELECT model, -count(*), -sum(verdict = 'keep')
      FROM images WHERE role = 'upscaled' AND verdict IS NOT NULL GROUP BY model)
GROUP BY model HAVING sum(judged) > 0 ORDER BY judged DESC;

-- name: prompts_by_count
SELECT prompt, sum(judged) AS judged, sum(kept) AS kept
FROM (SELECT prompt, count(*) AS judged, sum(verdict = 'keep') AS kept
      FROM images WHERE prompt IS NOT NULL AND verdict IS NOT NULL GROUP BY prompt
      UNION ALL
      SELECT prompt, -count(*), -sum(verdict = 'keep')
      FROM images WHERE role = 'upscaled' AND prompt IS NOT NULL AND verdict IS NOT NULL GROUP BY prompt)
GROUP BY prompt HAVING sum(judged) > 0 ORDER BY judged DESC, prompt LIMIT :most;

-- name: histogram
-- Scores in steps of a half; an enlarged image is its original over again.
SELECT CAST(score * 2 AS INTEGER) / 2.0 AS bin, count(*) AS images
FROM images WHERE score IS NOT NULL AND role <> 'upscaled' GROUP BY bin ORDER BY bin;

-- name: score_summary
SELECT count(*) AS images, avg(score) AS mean, min(score) AS lowest, max(score) AS highest
FROM images WHERE score IS NOT NULL AND role <> 'upscaled';

-- name: image_row
SELECT images.*, drops.kind AS drop_kind FROM images LEFT JOIN drops ON drops.id = images.drop_id
WHERE images.id = :id;

-- name: children
SELECT id FROM images WHERE parent_id = :id ORDER BY id;

-- name: enlargements
-- What was enlarged from an image.
SELECT path, model, settings FROM images WHERE parent_id = :id AND role = 'upscaled' ORDER BY id;

-- name: open_enlargements
-- Jobs that are to enlarge an image.
SELECT * FROM jobs WHERE image_id = :id AND +kind = 'upscale' AND +state IN ('queued', 'running');

-- name: tries
-- What was made of the same prompt of the same file.
SELECT id FROM images WHERE drop_id = :drop_id AND prompt = :prompt AND role = 'generated' ORDER BY id LIMIT :most;

-- name: scores_of_image
SELECT scorer, score, gate, weights_sha256, preprocessing, precision FROM scores
WHERE image_id = :id ORDER BY id;

-- name: gain_of
SELECT gain FROM score_gain WHERE upscaled_path = :path;

-- name: export
SELECT results.*, score_gain.gain FROM results
LEFT JOIN score_gain ON results.role = 'upscaled' AND score_gain.upscaled_path = results.path
ORDER BY results.image_id;

-- name: misplaced
-- Judged images that a threshold would put into the other folder, a page at a time. A person's verdicts only if asked;
-- of a set of which the best are kept none: there they were compared, and no threshold decided.
SELECT id FROM images
WHERE id > :after AND role IN ('generated', 'dropped') AND gone_at IS NULL
  AND (:also_mine OR verdict_by IS NOT 'person')
  AND ((verdict = 'keep' AND score < :keep AND path LIKE 'keep/%')
    OR (verdict = 'reject' AND score >= :keep AND path LIKE 'reject/%'))
  AND NOT {is_of_best}
ORDER BY id LIMIT :most;

-- name: misplaced_counts
SELECT verdict, count(*) AS images FROM images
WHERE role IN ('generated', 'dropped') AND gone_at IS NULL AND (:also_mine OR verdict_by IS NOT 'person')
  AND ((verdict = 'keep' AND score < :keep AND path LIKE 'keep/%')
    OR (verdict = 'reject' AND score >= :keep AND path LIKE 'reject/%'))
  AND NOT {is_of_best}
GROUP BY verdict;

-- name: add_action
-- What a person asks for in one go. `asked` by the same command again, it is the same.
INSERT INTO actions (kind, asked, keep, created_at) VALUES (:kind, :asked, :keep, :now)
ON CONFLICT (asked) DO UPDATE SET kind = kind RETURNING id;

-- name: last_actions
-- The newest that were not taken back, and did anything.
SELECT * FROM actions
WHERE undone_at IS NULL AND (:kind IS NULL OR kind = :kind)
  AND (EXISTS (SELECT 1 FROM verdict_history WHERE action_id = actions.id)
    OR EXISTS (SELECT 1 FROM action_steps WHERE action_id = actions.id))
ORDER BY id DESC LIMIT :most;

-- name: count_of_action
-- How many images, files or jobs an action was about, of which it was not taken back. Of stars, each image has a step.
SELECT (SELECT count(*) FROM verdict_history WHERE action_id = :id AND undone_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM actions WHERE id = :id AND kind = 'stars'))
    + (SELECT count(*) FROM action_steps WHERE action_id = :id) AS files;

-- name: actions_undone_by
-- What a command has taken back, before a crash kept it from saying so.
SELECT * FROM actions WHERE undone_by = :asked ORDER BY id DESC;

-- name: undo_action
UPDATE actions SET undone_at = :now, undone_by = :asked WHERE id = :id;

-- name: steps_of_action
SELECT * FROM action_steps WHERE action_id = :action_id ORDER BY id;

-- name: note_retry
-- How failed jobs had failed, before they are tried again.
INSERT INTO action_steps (action_id, drop_id, job_id, attempt, error_kind, error, fix)
SELECT :action_id, drop_id, id, attempt, error_kind, error, fix FROM jobs
WHERE state = 'failed' AND id IN (SELECT value FROM json_each(:ids)) ON CONFLICT DO NOTHING;

-- name: note_restore
INSERT INTO action_steps (action_id, drop_id, path) VALUES (:action_id, :drop_id, :path);

-- name: note_stars
-- Stars that an image gets, and what was known of its stars before.
INSERT INTO action_steps (action_id, drop_id, image_id, stars, rated)
VALUES (:action_id, :drop_id, :image_id, :stars, :rated) ON CONFLICT DO NOTHING;

-- name: stars_of_action
SELECT image_id, stars, rated FROM action_steps
WHERE action_id = :action_id AND image_id > :after ORDER BY image_id LIMIT :most;

-- name: placed_files
-- Dropped files that lie in failed/ or archive/.
SELECT id, placed_path AS path, inode, size, mtime_ns, NULL AS gone_at FROM drops
WHERE state IN ('placed', 'failed') AND (placed_path LIKE 'failed/%' OR placed_path LIKE 'archive/%');

-- name: see_placed
UPDATE drops SET placed_path = :path WHERE id = :id;

-- name: restored_drops
-- Files that were put back into their inboxes, and are not to be worked again.
SELECT * FROM drops WHERE restored_at IS NOT NULL;

-- name: restore_drop
UPDATE drops SET path = :path, placed_path = :path, inode = :inode, size = :size, mtime_ns = :mtime_ns,
    restored_at = :now
WHERE id = :id;

-- name: end_restore
-- It is not where it was put back to any more, or is another file.
UPDATE drops SET restored_at = NULL WHERE id = :id;

-- name: unrestore_drop
UPDATE drops SET placed_path = :path, restored_at = NULL WHERE id = :id;

-- name: restorable
-- Those of these dropped files whose work has ended, with where each lies now.
SELECT drops.*, images.id AS image_id, coalesce(images.path, drops.placed_path) AS lies, images.gone_at,
    images.inode AS image_inode, images.size AS image_size, images.mtime_ns AS image_mtime_ns
FROM drops LEFT JOIN images ON images.drop_id = drops.id AND images.role = 'dropped'
WHERE drops.state IN ('placed', 'failed') AND drops.restored_at IS NULL AND drops.placed_path IS NOT NULL
  AND drops.id IN (SELECT value FROM json_each(:ids))
ORDER BY drops.id;

-- name: dropped_images
SELECT id FROM drops WHERE kind <> 'generate' AND state IN ('placed', 'failed') AND restored_at IS NULL ORDER BY id;

-- name: unrated
-- Images whose stars are not written yet, or not where they are now.
SELECT id, path, sha256, rating_sha256, rated, score, verdict,
       role <> 'dropped' AND job_id IS NOT NULL AS is_ours
FROM images
WHERE unrated AND score IS NOT NULL AND substr(path, 1, 1) <> '.' AND path NOT LIKE 'inbox/%' AND gone_at IS NULL
ORDER BY id LIMIT :most;

-- name: rate_again
-- Stars that came with it late are no person's answer to ours; those that a person gave since stay known as such.
UPDATE images SET unrated = 1, rated = CASE WHEN rated LIKE '*%' THEN rated END WHERE drop_id = :drop_id AND role = 'dropped';

-- name: never_rated
-- It is no result any more.
UPDATE images SET unrated = 0 WHERE id = :id;

-- name: rating
-- Its file is about to be this.
UPDATE images SET rating_sha256 = :sha256 WHERE id = :id;

-- name: rated
UPDATE images
SET rated = :rated, unrated = 0, made_sha256 = coalesce(made_sha256, sha256), sha256 = :sha256,
    inode = coalesce(:inode, inode), size = coalesce(:size, size), mtime_ns = coalesce(:mtime_ns, mtime_ns)
WHERE id = :id;

-- name: image_at
SELECT * FROM images WHERE path = :path AND gone_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: given_stars
UPDATE images SET rated = :rated, unrated = unrated OR :unrated WHERE id = :id;

-- name: to_rate
-- The same of one image, whatever was written of it.
SELECT id, path, sha256, rating_sha256, rated, score, verdict, role <> 'dropped' AND job_id IS NOT NULL AS is_ours
FROM images WHERE id = :id;

-- name: made_sha256
-- What the file under this path was before stars were written into it.
SELECT coalesce(made_sha256, sha256) AS sha256 FROM images WHERE path = :path AND gone_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: same_embeddings
-- The same pixels in another file.
INSERT OR IGNORE INTO embeddings (sha256, encoder, vector)
SELECT :sha256, encoder, vector FROM embeddings WHERE sha256 = :before;

-- name: action_asked
-- What a command has done, unless it was taken back.
SELECT * FROM actions WHERE asked = :name AND undone_at IS NULL;

-- name: add_look
-- A person looked at an image that has a verdict, and left it so. Once for each verdict; the longest look counts.
INSERT INTO looks (image_id, verdict, score, gate_keep, weight, milliseconds, created_at)
SELECT id, verdict, score, :gate_keep, :weight, :milliseconds, :now FROM images
WHERE id = :image_id AND verdict IS NOT NULL
ON CONFLICT (image_id, verdict) DO UPDATE SET score = excluded.score, gate_keep = excluded.gate_keep,
    milliseconds = max(milliseconds, excluded.milliseconds), created_at = excluded.created_at;

-- name: forget_looks
DELETE FROM looks WHERE image_id IN (SELECT value FROM json_each(:ids));

-- name: forget_all_looks
DELETE FROM looks;

-- name: newest_change
SELECT coalesce(max(changed), 0) AS changed FROM images WHERE changed > 0;

-- name: shown_images
-- Every image that is there, with what a grid has to know of it; `stars` are those that a person gave, `is_of_best`
-- says that it is of a set of which the best are kept.
SELECT id, score, verdict, verdict_by, role, substr(path, 1, instr(path, '/') - 1) AS folder, substr(sha256, 1, 8) AS version,
    {stars_of_person} AS stars,
    {is_of_best} AS is_of_best
FROM images WHERE gone_at IS NULL ORDER BY id;

-- name: changed_images
-- The same of those that have changed since, also of what is gone.
SELECT id, score, verdict, verdict_by, role, substr(path, 1, instr(path, '/') - 1) AS folder,
    substr(sha256, 1, 8) AS version,
    {stars_of_person} AS stars,
    {is_of_best} AS is_of_best,
    gone_at IS NOT NULL AS is_gone, changed
FROM images WHERE changed > 0 AND changed > :after ORDER BY changed LIMIT :most;

-- name: ordered_images
-- Which of them are wanted, in which order. What is null does not matter. `words` is a JSON list in lower case, each of
-- which is in the prompt or in the path; `folders` and `verdicts` are lists.
SELECT id FROM images
WHERE gone_at IS NULL
  AND (:folders IS NULL OR substr(path, 1, instr(path, '/') - 1) IN (SELECT value FROM json_each(:folders)))
  AND (:verdicts IS NULL OR coalesce(verdict, 'none') IN (SELECT value FROM json_each(:verdicts)))
  AND (:by IS NULL OR verdict_by = :by)
  AND (:role IS NULL OR role = :role)
  AND (:lowest IS NULL OR score >= :lowest) AND (:highest IS NULL OR score <= :highest)
  AND (:stars IS NULL OR coalesce({stars_of_person}, CASE
      WHEN score IS NOT NULL AND verdict = 'reject' THEN -1 ELSE CAST(score / 2 + 0.5 AS INTEGER) END) = :stars)
  AND (:model IS NULL OR model = :model) AND (:seed IS NULL OR seed = :seed)
  AND (:source IS NULL OR source_file = :source)
  AND (:below IS NULL OR substr(path, instr(path, '/') + 1, length(:below)) = :below)
  AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (:words IS NULL OR NOT EXISTS (
      SELECT 1 FROM json_each(:words) WHERE instr(lower(coalesce(images.prompt, '') || ' ' || images.path), value) = 0))
  AND (:lowest_gain IS NULL OR (role = 'upscaled' AND score - (
      SELECT parents.score FROM images AS parents
      WHERE parents.id = images.parent_id AND parents.scorer = images.scorer) >= :lowest_gain))
ORDER BY
  CASE WHEN :sort IN ('best', 'worst') THEN score IS NULL WHEN :sort = 'gain' THEN role <> 'upscaled'
    WHEN :sort = 'scorer' THEN NOT EXISTS (SELECT 1 FROM scores WHERE image_id = images.id AND scorer = :scorer) END,
  CASE :sort WHEN 'best' THEN -score WHEN 'worst' THEN score WHEN 'oldest' THEN created_at WHEN 'scorer' THEN -(
      SELECT scores.score FROM scores WHERE image_id = images.id AND scorer = :scorer ORDER BY scores.id DESC LIMIT 1)
  WHEN 'gain' THEN (
      SELECT parents.score - images.score FROM images AS parents
      WHERE parents.id = images.parent_id AND parents.scorer = images.scorer)
  ELSE -created_at END,
  CASE WHEN :sort = 'oldest' THEN id ELSE -id END;

-- name: images_saying
-- Images that have a word, in lower case, in their path or in their prompt; `phrase` is that word for FTS5. Paths and
-- prompts are read from their indexes alone.
SELECT id FROM images WHERE instr(lower(path), :word) > 0
UNION ALL
SELECT images.id FROM prompt_words CROSS JOIN images AS firsts ON firsts.id = prompt_words.rowid
CROSS JOIN images ON images.prompt = firsts.prompt
WHERE prompt_words MATCH :phrase;

-- name: prompts_saying
-- How many different prompts have a word, up to so many.
SELECT count(*) AS prompts FROM (SELECT 1 FROM prompt_words WHERE prompt_words MATCH :phrase LIMIT :most);

-- name: names_of_images
SELECT id, path, prompt, width, height FROM images WHERE id IN (SELECT value FROM json_each(:ids));

-- name: scorers
-- Who has given any image a score.
SELECT DISTINCT scorer FROM scores ORDER BY scorer;

-- name: files_that_wait
-- Dropped files of which something is in work, or waits: in work first, then what goes before others, then the oldest.
SELECT drop_id FROM jobs WHERE state IN ('queued', 'running')
GROUP BY drop_id ORDER BY max(state = 'running') DESC, min(place), min(id);

-- name: files_that_failed
-- Dropped files of which something has failed, and was not tried again; the newest failure first.
SELECT drop_id FROM jobs WHERE state = 'failed' GROUP BY drop_id ORDER BY max(finished_at) DESC, drop_id DESC;

-- name: shown_files
-- What is known of dropped files: how much of each waits, is in work and has failed, why, and an image that it is about.
SELECT drops.id, drops.path, drops.kind, drops.placed_path, counted.waits, counted.running, counted.failed,
    told.error, told.fix, told.kind AS work, (
        SELECT images.id FROM jobs JOIN images ON images.id = jobs.image_id
        WHERE jobs.drop_id = drops.id AND jobs.state IN ('failed', 'queued', 'running') AND images.gone_at IS NULL
        ORDER BY jobs.id DESC LIMIT 1) AS image_id
FROM drops
JOIN (SELECT drop_id, sum(state = 'queued') AS waits, sum(state = 'running') AS running, sum(state = 'failed') AS failed,
          max(CASE WHEN state = 'failed' THEN id END) AS last_failed, max(CASE WHEN state IN ('queued', 'running') THEN id END)
          AS last_open
      FROM jobs WHERE drop_id IN (SELECT value FROM json_each(:ids)) GROUP BY drop_id) AS counted
  ON counted.drop_id = drops.id
LEFT JOIN jobs AS told ON told.id = coalesce(counted.last_failed, counted.last_open);

-- name: failed_jobs_of_drops
SELECT id FROM jobs WHERE drop_id IN (SELECT value FROM json_each(:ids)) AND +state = 'failed' ORDER BY id;

-- name: shown_sources
-- Dropped files that something came of, the newest first, for who chooses one.
SELECT path FROM drops WHERE state IN ('placed', 'open') ORDER BY id DESC LIMIT 300;

-- name: shown_jobs
-- What is in work, and what waits first.
SELECT id, kind, state, drop_id, source_file, attempt, not_before, error, fix FROM jobs WHERE state = 'running'
UNION ALL
SELECT * FROM (
    SELECT id, kind, state, drop_id, source_file, attempt, not_before, error, fix FROM jobs
    WHERE state = 'queued' ORDER BY id LIMIT :most);


-- name: inboxes_judged
-- Inboxes whose results a person has said something of. What was restored from folders has no dropped file, and no inbox.
SELECT substr(source_file, 7, instr(substr(source_file, 7), '/') - 1) AS inbox, sum(labels) AS labels
FROM (SELECT image_id, count(*) AS labels FROM verdict_history
      WHERE given_by = 'person' AND undone_at IS NULL GROUP BY image_id
      UNION ALL SELECT image_id, count(*) FROM looks GROUP BY image_id) AS said
JOIN images ON images.id = said.image_id
WHERE source_file LIKE 'inbox/%/%' GROUP BY inbox ORDER BY inbox;

-- name: said_of_inbox
-- What a person said of the results of an inbox, oldest first. `score` and `gate_keep` are of that moment.
SELECT given.id, images.id AS image_id, images.sha256, images.prompt, images.source_file, given.verdict, given.how,
    given.score, given.gate_keep, given.path_before, given.created_at
FROM verdict_history AS given JOIN images ON images.id = given.image_id
WHERE given.given_by = 'person' AND given.undone_at IS NULL AND given.created_at > :since
  AND images.source_file >= :first AND images.source_file < :last
ORDER BY given.id;

-- name: looked_at_of_inbox
-- What a person looked at of them, and left as it was.
SELECT images.id AS image_id, images.sha256, images.prompt, images.source_file, looks.verdict, looks.score,
    looks.gate_keep, looks.weight, looks.created_at
FROM looks JOIN images ON images.id = looks.image_id
WHERE looks.created_at > :since AND images.source_file >= :first AND images.source_file < :last
ORDER BY looks.id;

-- name: lay_between
-- Images that lie in a folder itself, with a name from one to another, and lay there before: put there by the gate, with
-- no word of a person on them, whenever that was. Verdict and score are of that moment. `name`: where names begin.
SELECT images.id AS image_id, images.sha256, images.prompt, images.source_file, given.verdict, given.score,
    given.gate_keep
FROM images JOIN verdict_history AS given ON given.id = (
    SELECT max(id) FROM verdict_history WHERE image_id = images.id AND undone_at IS NULL)
WHERE images.path >= :first AND images.path <= :last AND instr(substr(images.path, :name), '/') = 0
  AND images.gone_at IS NULL AND given.created_at < :before AND given.given_by IN ('gate', 'taste')
  AND NOT EXISTS (SELECT 1 FROM verdict_history AS said
      WHERE said.image_id = images.id AND said.given_by = 'person' AND said.undone_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM looks WHERE looks.image_id = images.id)
ORDER BY images.path LIMIT 5000;

-- name: encoder_of_inbox
-- The embeddings, of those that one encoder makes, that the newest image of an inbox has.
SELECT embeddings.encoder FROM images JOIN embeddings ON embeddings.sha256 = images.sha256
WHERE images.source_file >= :first AND images.source_file < :last
  AND embeddings.encoder >= :name || '/' AND embeddings.encoder < :name || '0'
ORDER BY images.id DESC LIMIT 1;

-- name: version_of_prior
-- With which weights, and how prepared, a scorer has judged the newest image of an inbox that it has judged.
SELECT scores.weights_sha256 || ' ' || scores.preprocessing AS version
FROM images JOIN scores ON scores.image_id = images.id AND scores.scorer = :prior
WHERE images.source_file >= :first AND images.source_file < :last
ORDER BY images.id DESC, scores.id DESC LIMIT 1;

-- name: library_of_inbox
-- The newest images of an inbox with their embeddings, and what a scorer said of each: one version of it, or any.
SELECT images.id AS image_id, images.sha256, embeddings.vector, (
    SELECT score FROM scores WHERE image_id = images.id AND scorer = :prior
      AND (:version IS NULL OR weights_sha256 || ' ' || preprocessing = :version) ORDER BY id DESC LIMIT 1) AS prior
FROM images JOIN embeddings ON embeddings.sha256 = images.sha256 AND embeddings.encoder = :encoder
WHERE images.source_file >= :first AND images.source_file < :last
ORDER BY images.id DESC LIMIT :most;

-- name: embedded_among
-- The same of some images.
SELECT images.id AS image_id, images.sha256, embeddings.vector, (
    SELECT score FROM scores WHERE image_id = images.id AND scorer = :prior
      AND (:version IS NULL OR weights_sha256 || ' ' || preprocessing = :version) ORDER BY id DESC LIMIT 1) AS prior
FROM images JOIN embeddings ON embeddings.sha256 = images.sha256 AND embeddings.encoder = :encoder
WHERE images.id IN (SELECT value FROM json_each(:ids));

-- name: newest_of_contents
-- The newest image of each of these contents.
SELECT max(id) AS image_id, sha256, path, prompt, source_file FROM images
WHERE sha256 IN (SELECT value FROM json_each(:ids)) GROUP BY sha256;

-- name: said_since
-- How much a person has said since, by inbox; and up to where that is counted.
SELECT images.source_file, given.id FROM verdict_history AS given JOIN images ON images.id = given.image_id
WHERE given.id > :verdict AND given.given_by = 'person' ORDER BY given.id;

-- name: looked_since
SELECT images.source_file, looks.id FROM looks JOIN images ON images.id = looks.image_id
WHERE looks.id > :look ORDER BY looks.id;

-- name: last_said
SELECT coalesce((SELECT max(id) FROM verdict_history), 0) AS verdict, coalesce((SELECT max(id) FROM looks), 0) AS look;

-- name: forget_looks_of_inbox
DELETE FROM looks WHERE image_id IN (
    SELECT id FROM images WHERE source_file >= :first AND source_file < :last);

-- name: scorers_like_taste
-- Scorers, and formulas, in whose text the word is.
SELECT DISTINCT scorer FROM scores WHERE scorer LIKE '%taste%';

-- name: prior_is_the_gates
-- Where the gate looked at taste alone, it looks at what taste was learnt beside.
UPDATE scores SET gate = 1
WHERE scorer = :prior AND image_id IN (
    SELECT image_id FROM scores AS tasted JOIN images ON images.id = tasted.image_id
    WHERE images.source_file >= :first AND images.source_file < :last
      AND tasted.gate AND tasted.scorer IN (SELECT value FROM json_each(:scorers)))
  AND id = (SELECT max(id) FROM scores AS own WHERE own.image_id = scores.image_id AND own.scorer = :prior);

-- name: forget_scores_of_taste
-- Where the gate looked at one, the score before it counts again.
DELETE FROM scores WHERE scorer IN (SELECT value FROM json_each(:scorers)) AND image_id IN (
    SELECT id FROM images WHERE source_file >= :first AND source_file < :last);

-- name: forget_verdicts_by_taste
-- The verdicts stay: they say where files lay. By which score they were given is not known any more.
UPDATE verdict_history SET score = NULL WHERE given_by = 'taste' AND image_id IN (
    SELECT id FROM images WHERE source_file >= :first AND source_file < :last);

-- name: open_scorers
-- What images are to be judged by that wait, are in work and may be put back, or have failed and may be tried again.
SELECT DISTINCT model FROM jobs WHERE state IN ('queued', 'running', 'failed') AND kind = 'score';

-- name: jobs_by_other_scorer
-- What is to be judged by a head that is gone is judged by something else.
UPDATE jobs SET model = :now
WHERE kind = 'score' AND state IN ('queued', 'running', 'failed') AND model = :before;

-- name: inbox_by_other_scorer
-- What waits of one inbox.
UPDATE jobs SET model = :now
WHERE kind = 'score' AND state = 'queued' AND model = :before AND source_file >= :first AND source_file < :last;

-- name: close_calls
-- Drawn images of an inbox whose score is near a threshold, the nearest first.
SELECT id, sha256, prompt, score FROM images
WHERE score >= :lowest AND score <= :highest AND gone_at IS NULL AND role = 'generated' AND prompt IS NOT NULL
  AND verdict IS NOT NULL AND source_file >= :first AND source_file < :last
ORDER BY abs(score - :keep), id LIMIT :most;
