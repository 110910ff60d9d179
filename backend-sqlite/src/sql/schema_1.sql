-- Version 1 of the schema. Times and durations are microseconds, ids 16-byte blobs, lists JSON text.

-- What never steps back, in one row: the clock's high-water mark, the number of the last feed entry, the number
-- handed out last to a job that became available, and a counter of changed queue settings.
CREATE TABLE windlass_tick (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    now     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    turn    INTEGER NOT NULL,
    config  INTEGER NOT NULL,
    horizon INTEGER NOT NULL  -- highest number of a pruned feed entry
);
INSERT INTO windlass_tick VALUES (1, 0, 0, 0, 0, 0);

-- Jobs that wait or run. `rank` orders the available ones: priority in the high bits, then the turn at which
-- the job became available. `trail` is the job's own list of state changes, as `kit::trail` of the core writes it.
CREATE TABLE windlass_jobs (
    id           BLOB    NOT NULL PRIMARY KEY,
    state        INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    queue        TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    rank         INTEGER,
    due_at       INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    snoozes      INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    worker       BLOB,
    claim_id     BLOB,
    started_at   INTEGER,
    deadline_at  INTEGER,
    cancelling   INTEGER NOT NULL,
    timeout      INTEGER,
    created_at   INTEGER NOT NULL,
    unique_key   TEXT,
    unique_mode  INTEGER,
    unique_until INTEGER,
    notes        INTEGER NOT NULL,
    changes      INTEGER NOT NULL,
    meta         TEXT,
    tags         TEXT,
    progress     TEXT,
    errors       TEXT,
    encoding     INTEGER NOT NULL,
    args         BLOB    NOT NULL,
    trail        TEXT    NOT NULL
) WITHOUT ROWID;

-- Only runnable jobs, led by queue, lane and kind, so that nothing else stands in the way of a claim.
CREATE INDEX windlass_jobs_ready ON windlass_jobs (queue, lane, kind, rank) WHERE state = 2;
CREATE INDEX windlass_jobs_due ON windlass_jobs (due_at) WHERE state IN (1, 4);
CREATE INDEX windlass_jobs_running ON windlass_jobs (worker, deadline_at) WHERE state = 3;
CREATE INDEX windlass_jobs_unique ON windlass_jobs (unique_key) WHERE unique_key IS NOT NULL;

-- Final jobs: moved here in the step that finishes them.
CREATE TABLE windlass_finished (
    id           BLOB    NOT NULL PRIMARY KEY,
    state        INTEGER NOT NULL,
    queue        TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    snoozes      INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    worker       BLOB,
    claim_id     BLOB,
    started_at   INTEGER,
    finished_at  INTEGER NOT NULL,
    timeout      INTEGER,
    created_at   INTEGER NOT NULL,
    unique_key   TEXT,
    unique_mode  INTEGER,
    unique_until INTEGER,
    notes        INTEGER NOT NULL,
    changes      INTEGER NOT NULL,
    meta         TEXT,
    tags         TEXT,
    progress     TEXT,
    errors       TEXT,
    encoding     INTEGER NOT NULL,
    args         BLOB    NOT NULL,
    result_encoding INTEGER,
    result       BLOB,
    trail        TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX windlass_finished_age ON windlass_finished (state, finished_at);
CREATE INDEX windlass_finished_unique ON windlass_finished (unique_key) WHERE unique_key IS NOT NULL;

-- All jobs as their records show them.
CREATE VIEW windlass_records AS
SELECT id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id,
       started_at, NULL AS finished_at, cancelling, timeout, created_at, unique_key, unique_mode, unique_until,
       notes, changes, meta, tags, progress, errors, encoding, args, NULL AS result_encoding, NULL AS result, trail
FROM windlass_jobs
UNION ALL
SELECT id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id,
       started_at, finished_at, 0, timeout, created_at, unique_key, unique_mode, unique_until,
       notes, changes, meta, tags, progress, errors, encoding, args, result_encoding, result, trail
FROM windlass_finished;

-- Held unique keys. `until` is set for keys held for a duration only.
CREATE TABLE windlass_unique (
    key   TEXT    NOT NULL PRIMARY KEY,
    job   BLOB    NOT NULL,
    mode  INTEGER NOT NULL,  -- 0 until started, 1 until finished, 2 until a time
    until INTEGER
) WITHOUT ROWID;
CREATE INDEX windlass_unique_window ON windlass_unique (until) WHERE until IS NOT NULL;

CREATE TABLE windlass_workers (
    id         BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    queues     TEXT    NOT NULL,
    lease      INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE windlass_queues (
    name        TEXT    NOT NULL PRIMARY KEY,
    paused      INTEGER NOT NULL,
    concurrency INTEGER,
    max_depth   INTEGER
) WITHOUT ROWID;

-- How many jobs are kept, by queue, kind and state; kept up to date by the transactions that change jobs.
CREATE TABLE windlass_counts (
    queue TEXT    NOT NULL,
    kind  TEXT    NOT NULL,
    state INTEGER NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (queue, kind, state)
) WITHOUT ROWID;

-- The feed: one entry per batch of state changes (`job` is NULL), one per note or cancel request of a job.
CREATE TABLE windlass_events (
    seq  INTEGER NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    job  BLOB,
    body TEXT    NOT NULL
);
CREATE INDEX windlass_events_batch ON windlass_events (at) WHERE job IS NULL;
CREATE INDEX windlass_events_job ON windlass_events (job, seq) WHERE job IS NOT NULL;

-- Which blobs a job's args and result refer to.
CREATE TABLE windlass_job_blobs (
    job BLOB NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (job, key)
) WITHOUT ROWID;
CREATE INDEX windlass_job_blobs_key ON windlass_job_blobs (key);

-- Blobs to delete once their time has come, unless a job refers to them by then.
CREATE TABLE windlass_blobs_doomed (
    key    TEXT    NOT NULL PRIMARY KEY,
    due_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX windlass_blobs_doomed_due ON windlass_blobs_doomed (due_at);

-- Jobs on their way to another backend. `free_at` is when a relay may take the entry (again).
CREATE TABLE windlass_outbox (
    id        BLOB    NOT NULL PRIMARY KEY,
    posted_at INTEGER NOT NULL,
    free_at   INTEGER NOT NULL,
    refusals  INTEGER NOT NULL,
    error     TEXT,
    body      BLOB    NOT NULL
);
CREATE INDEX windlass_outbox_free ON windlass_outbox (free_at, id);
CREATE INDEX windlass_outbox_refused ON windlass_outbox (id) WHERE error IS NOT NULL;
