-- Version 1 of the schema. Times and durations are microseconds, times since 1970; the view `overview` shows them readably.
-- `windlass` stands for the schema's name throughout.

-- Entries of the feed are numbered by `feed`, the moments at which jobs become available by `turn`.
CREATE SEQUENCE windlass.feed;
CREATE SEQUENCE windlass.turn;
-- From here on the last value is one that was given out: the first entry is number 2.
SELECT nextval('windlass.feed');

-- The time of the statement.
CREATE FUNCTION windlass.now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN (extract(epoch FROM statement_timestamp()) * 1000000)::bigint;

-- The number of a new entry of the feed, to be drawn once the rows that it tells of are locked. Numbers are drawn before the commit, so a reader could meet a higher one before a lower: whoever
-- draws one first takes a shared lock that names a number below it, held until the commit, and readers stop before the lowest named.
CREATE FUNCTION windlass.next_entry() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- One lock per transaction is enough. The setting is the transaction's own, and goes with a savepoint as the lock does.
    IF current_setting('windlass_feed.locked_$class$', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
        PERFORM pg_advisory_xact_lock_shared($class$, (last_value & 2147483647)::integer) FROM windlass.feed;
        PERFORM set_config('windlass_feed.locked_$class$', pg_current_xact_id()::text, true);
    END IF;
    RETURN nextval('windlass.feed');
END
$$;

-- Every entry up to this number is visible to a statement that starts after this one, or never will be.
CREATE FUNCTION windlass.settled_entries() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    before bigint := (SELECT last_value FROM windlass.feed);
    named bigint[];
    after bigint;
BEGIN
    SELECT array_agg(objid::bigint) INTO named FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = $class$
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    after := (SELECT last_value FROM windlass.feed);
    -- A lock names the lower 31 bits of a number that had been given out: the highest one so far with these bits.
    RETURN least(before, (SELECT min(after - ((after - n) & 2147483647)) FROM unnest(named) AS n));
END
$$;

-- What would let a statement for many jobs fail by one (a number that overflows, an array of another shape) is kept out: by types, since the text of
-- a table's own constraint is read again for every statement that adds or changes rows.
CREATE DOMAIN windlass.natural AS integer CHECK (VALUE >= 0);
CREATE DOMAIN windlass.counter AS integer CHECK (VALUE BETWEEN 0 AND 2000000000);
CREATE DOMAIN windlass.epoch AS bigint CHECK (VALUE BETWEEN 0 AND 4294967295);
CREATE DOMAIN windlass.span AS bigint CHECK (VALUE BETWEEN 0 AND 4611686018427387904);
CREATE DOMAIN windlass.moment AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN windlass.tags AS text[] CHECK (coalesce(array_ndims(VALUE), 1) = 1 AND coalesce(array_lower(VALUE, 1), 1) = 1
    AND array_position(VALUE, NULL) IS NULL);

-- Jobs that wait or run. `rank` orders the available ones: priority in the high bits, then the turn at which the job became
-- available. `trail` is the job's own list of state changes.
CREATE TABLE windlass.jobs (
    id           uuid     NOT NULL PRIMARY KEY,
    state        smallint NOT NULL,
    lane         smallint NOT NULL DEFAULT 0,
    priority     smallint NOT NULL,
    queue        text     NOT NULL COLLATE "C",
    kind         text     NOT NULL COLLATE "C",
    rank         bigint,
    due_at       windlass.moment NOT NULL,
    epoch        windlass.epoch NOT NULL DEFAULT 0,
    attempt      windlass.counter NOT NULL DEFAULT 0,
    max_attempts windlass.natural NOT NULL,
    snoozes      windlass.counter NOT NULL DEFAULT 0,
    crashes      windlass.counter NOT NULL DEFAULT 0,
    worker       uuid,
    claim_id     uuid,
    started_at   windlass.moment,
    deadline_at  bigint,
    cancelling   boolean  NOT NULL DEFAULT false,
    timeout      windlass.span,
    created_at   windlass.moment NOT NULL,
    unique_key   text     COLLATE "C",
    unique_mode  smallint,
    unique_until bigint,
    notes        windlass.counter NOT NULL DEFAULT 0,
    changes      windlass.counter NOT NULL DEFAULT 1,
    meta         text,
    tags         windlass.tags,
    progress     text,
    errors       text,
    encoding     smallint NOT NULL,
    args         bytea    NOT NULL,
    trail        text     NOT NULL,
    CONSTRAINT jobs_sound CHECK (state >= 0 AND state <= 4 AND (state <> 3 OR worker IS NOT NULL AND claim_id IS NOT NULL))
);
-- Only runnable jobs, led by queue, lane and kind, so that nothing else stands in the way of a claim.
CREATE INDEX jobs_ready ON windlass.jobs (queue, lane, kind, rank) WHERE state = 2;
CREATE INDEX jobs_due ON windlass.jobs (due_at, id) WHERE state IN (1, 4);
CREATE INDEX jobs_running ON windlass.jobs (worker, started_at) WHERE state = 3;
CREATE INDEX jobs_deadline ON windlass.jobs (deadline_at) WHERE state = 3 AND deadline_at IS NOT NULL;
CREATE INDEX jobs_retryable ON windlass.jobs (id) WHERE state = 4;
CREATE INDEX jobs_unique ON windlass.jobs (unique_key, id) WHERE unique_key IS NOT NULL;

-- Final jobs: moved here in the step that finishes them.
CREATE TABLE windlass.finished (
    id           uuid     NOT NULL PRIMARY KEY,
    state        smallint NOT NULL CHECK (state BETWEEN 5 AND 7),
    priority     smallint NOT NULL,
    queue        text     NOT NULL COLLATE "C",
    kind         text     NOT NULL COLLATE "C",
    due_at       windlass.moment NOT NULL,
    epoch        windlass.epoch NOT NULL,
    attempt      windlass.counter NOT NULL,
    max_attempts windlass.natural NOT NULL,
    snoozes      windlass.counter NOT NULL,
    crashes      windlass.counter NOT NULL,
    worker       uuid,
    claim_id     uuid,
    started_at   windlass.moment,
    finished_at  windlass.moment NOT NULL,
    timeout      windlass.span,
    created_at   windlass.moment NOT NULL,
    unique_key   text     COLLATE "C",
    unique_mode  smallint,
    unique_until bigint,
    notes        windlass.counter NOT NULL,
    changes      windlass.counter NOT NULL,
    meta         text,
    tags         windlass.tags,
    progress     text,
    errors       text,
    encoding     smallint NOT NULL,
    args         bytea    NOT NULL,
    result_encoding smallint,
    result       bytea,
    trail        text     NOT NULL
);
CREATE INDEX finished_age ON windlass.finished (state, finished_at);
-- Failures are few among the finished, and what people look for.
CREATE INDEX finished_failed ON windlass.finished (state, id) WHERE state <> 5;
CREATE INDEX finished_unique ON windlass.finished (unique_key, id) WHERE unique_key IS NOT NULL;

-- All jobs as their records show them.
CREATE VIEW windlass.records AS
SELECT id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id, started_at,
    NULL::bigint AS finished_at, cancelling, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags, progress,
    errors, encoding, args, NULL::smallint AS result_encoding, NULL::bytea AS result, trail
FROM windlass.jobs
UNION ALL
SELECT id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id, started_at,
    finished_at, false, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags, progress,
    errors, encoding, args, result_encoding, result, trail
FROM windlass.finished;

-- Whether a job passes the conditions of a listing that need no index; empty lists mean any. The planner puts its text in place.
CREATE FUNCTION windlass.passes(state smallint, queue text, kind text, tags text[], states smallint[], queues text[], kinds text[], wanted text[])
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (states = '{}' OR state = ANY (states)) AND (queues = '{}' OR queue = ANY (queues)) AND (kinds = '{}' OR kind = ANY (kinds))
    AND (wanted = '{}' OR tags @> wanted);

-- All jobs for people.
CREATE VIEW windlass.overview AS
SELECT id, (ARRAY['blocked', 'scheduled', 'available', 'running', 'retryable', 'completed', 'cancelled', 'discarded'])[state + 1] AS state,
    queue, kind, priority, attempt, max_attempts, crashes, to_timestamp(created_at / 1e6) AS created_at, to_timestamp(due_at / 1e6) AS due_at,
    to_timestamp(started_at / 1e6) AS started_at, to_timestamp(finished_at / 1e6) AS finished_at, worker, unique_key, tags, errors,
    octet_length(args) AS args_bytes
FROM windlass.records;

-- Held unique keys. `until` is set for keys held for a duration only.
CREATE TABLE windlass.unique_keys (
    key   text     NOT NULL COLLATE "C" PRIMARY KEY,
    job   uuid     NOT NULL,
    mode  smallint NOT NULL,  -- 0 until started, 1 until finished, 2 until a time
    until bigint
);
CREATE INDEX unique_keys_until ON windlass.unique_keys (until) WHERE until IS NOT NULL;

CREATE TABLE windlass.workers (
    id         uuid   NOT NULL PRIMARY KEY,
    name       text   NOT NULL,
    queues     text[] NOT NULL,
    lease      bigint NOT NULL,
    started_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE TABLE windlass.queues (
    name        text    NOT NULL COLLATE "C" PRIMARY KEY,
    paused      boolean NOT NULL,
    concurrency integer,
    max_depth   bigint
);

-- How many jobs are kept, by queue, kind and state: the sum of what every batch adds and takes away. Rows are only added, so that no
-- row is hot; maintenance folds them together.
CREATE TABLE windlass.counts (
    queue text     NOT NULL COLLATE "C",
    kind  text     NOT NULL COLLATE "C",
    state smallint NOT NULL,
    jobs  bigint   NOT NULL
);

-- The feed: one entry per batch of state changes (`job` is NULL), one per note or cancel request of a job.
CREATE TABLE windlass.events (
    seq  bigint NOT NULL PRIMARY KEY,
    at   bigint NOT NULL,
    job  uuid,
    body text   NOT NULL
);
CREATE INDEX events_batch ON windlass.events (at) WHERE job IS NULL;
CREATE INDEX events_job ON windlass.events (job, seq) WHERE job IS NOT NULL;

-- The highest number of a pruned entry of the feed.
CREATE TABLE windlass.horizon (
    one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint  NOT NULL
);
INSERT INTO windlass.horizon (seq) VALUES (0);

-- Which blobs a job's args and result refer to.
CREATE TABLE windlass.job_blobs (
    job uuid NOT NULL,
    key text NOT NULL COLLATE "C",
    PRIMARY KEY (job, key)
);
CREATE INDEX job_blobs_key ON windlass.job_blobs (key);

-- Blobs to delete once their time has come, unless a job refers to them by then.
CREATE TABLE windlass.blobs_doomed (
    key    text   NOT NULL COLLATE "C" PRIMARY KEY,
    due_at bigint NOT NULL
);
CREATE INDEX blobs_doomed_due ON windlass.blobs_doomed (due_at);

-- Refuses an insert of which some jobs are stored already, by an error that takes the whole of it back. It runs after the rows were added, with
-- a view of its own: a job that was finished a moment ago has left `jobs` and stands in `finished`. That it runs after them is due to its argument `added`, the
-- count of the rows that the statement itself adds: a statement's writes that nothing asks about are done at its end. So the count stays, also where an insert that
-- adds too few would fail by itself.
CREATE FUNCTION windlass.require_new(ids uuid[], added bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF added <> cardinality(ids) OR EXISTS (SELECT FROM windlass.finished WHERE id = ANY (ids)) THEN
        RAISE EXCEPTION 'some of the jobs are stored already' USING ERRCODE = 'WL001';
    END IF;
    RETURN true;
END
$$;

-- The same for a plain insert, which may not go into queues that have a maximum depth either: it must be watched.
CREATE FUNCTION windlass.require_plain(ids uuid[], added bigint, names text[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF added <> cardinality(ids) OR EXISTS (SELECT FROM windlass.finished WHERE id = ANY (ids))
        OR EXISTS (SELECT FROM windlass.queues WHERE name = ANY (names) AND max_depth IS NOT NULL) THEN
        RAISE EXCEPTION 'some of the jobs are stored already, or a queue has a maximum depth' USING ERRCODE = 'WL001';
    END IF;
    RETURN true;
END
$$;

-- Tables whose rows come and go need their dead rows removed early.
ALTER TABLE windlass.jobs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 1000);
ALTER TABLE windlass.counts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE windlass.unique_keys SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE windlass.workers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
