-- Completions that carry nothing but a result. $1 ids, $2 epochs, $3 claim ids, $4 the same claim ids, each once; of those with a result: $5 ids,
-- $6 encodings, $7 results. Jobs that don't run under their key, or that somebody else is changing at this moment, are passed over; what was completed
-- comes back.
-- The state is compared after the rows are read (elsewhere as `state + 0`): a literal beside the table would let the planner walk all running jobs.
-- A job is in one batch once (`plain::completions`), so results are joined by its id alone.
-- Only the keys are locked and compared, so that the rest of a row passes through the server once. A row is deleted by its place; one
-- that was moved since this statement began is not seen at its new place, and passed over, too.
WITH want AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS w (id, epoch, claim_id)),
locked AS MATERIALIZED (
    SELECT j.ctid AS place, j.id, j.epoch, j.claim_id, j.state FROM windlass.jobs AS j
    WHERE j.id = ANY ($1::uuid[]) AND j.claim_id = ANY ($4::uuid[]) FOR NO KEY UPDATE SKIP LOCKED),
mine AS MATERIALIZED (
    SELECT l.place FROM locked AS l
    JOIN want AS w ON w.id = l.id AND w.epoch = l.epoch AND w.claim_id = l.claim_id WHERE l.state = 3),
drawn AS MATERIALIZED (
    SELECT windlass.next_entry() AS seq, windlass.now() AS now WHERE (SELECT count(*) FROM mine) > 0),
entry AS MATERIALIZED (SELECT d.seq, d.now, ',[' || d.seq || ',' || d.now || ',3,5,' AS head FROM drawn AS d),
gone AS (
    DELETE FROM windlass.jobs AS j WHERE j.ctid = ANY (ARRAY(SELECT m.place FROM mine AS m))
    RETURNING j.id, j.priority, j.queue, j.kind, j.due_at, j.epoch, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.worker, j.claim_id,
        j.started_at, j.timeout, j.created_at, j.unique_key, j.unique_mode, j.unique_until, j.notes, j.changes, j.meta, j.tags, j.progress,
        j.errors, j.encoding, j.args, j.trail),
kept AS (
    INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker,
        claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags,
        progress, errors, encoding, args, result_encoding, result, trail)
    SELECT m.id, 5, m.priority, m.queue, m.kind, m.due_at, m.epoch, m.attempt, m.max_attempts, m.snoozes, m.crashes, m.worker,
        m.claim_id, m.started_at, e.now, m.timeout, m.created_at, m.unique_key, m.unique_mode, m.unique_until, m.notes, m.changes + 1,
        m.meta, m.tags, m.progress, m.errors, m.encoding, m.args, r.encoding, r.result,
        m.trail || e.head || m.attempt::text || ',4]'
    FROM entry AS e, gone AS m
    LEFT JOIN unnest($5::uuid[], $6::smallint[], $7::bytea[]) AS r (id, encoding, result) ON r.id = m.id
    RETURNING id, queue, kind, attempt, worker, unique_key, unique_mode, changes),
freed AS (
    DELETE FROM windlass.unique_keys AS u
    WHERE u.key = ANY (ARRAY(SELECT k.unique_key FROM kept AS k WHERE k.unique_mode <> 2))
        AND u.job = ANY (ARRAY(SELECT k.id FROM kept AS k WHERE k.unique_mode <> 2)) AND u.mode <> 2),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT k.queue, k.kind, s.state, s.sign * k.jobs FROM (SELECT queue, kind, count(*) AS jobs FROM kept GROUP BY queue, kind) AS k,
        (VALUES (3::smallint, -1), (5::smallint, 1)) AS s (state, sign)),
-- What stands in the entry of each job: numbers of names that are told once, where all have the same. It makes the entry half as long.
first AS MATERIALIZED (SELECT k.queue, k.kind, k.worker, encode(uuid_send(k.worker), 'hex') AS hex FROM kept AS k LIMIT 1),
alike AS MATERIALIZED (
    SELECT bool_and(k.queue = f.queue AND k.kind = f.kind AND k.worker = f.worker) AS yes FROM kept AS k, first AS f),
told AS (
    INSERT INTO windlass.events (seq, at, body)
    SELECT e.seq, e.now,
        CASE WHEN a.yes THEN '{"c":4,"n":["' || f.queue || '","' || f.kind || '"],"w":["' || f.hex || '"],"j":[' || (
            SELECT string_agg('["' || encode(uuid_send(k.id), 'hex') || '",1,0,3,5,' || k.attempt::text || ',0]', ',' ORDER BY k.id)
            FROM kept AS k)
        ELSE '{"c":4,"n":[],"w":[],"j":[' || (
            SELECT string_agg('["' || encode(uuid_send(k.id), 'hex') || '","' || k.kind || '","' || k.queue || '",3,5,' || k.attempt::text || ',"'
                || encode(uuid_send(k.worker), 'hex') || '"]', ',' ORDER BY k.id)
            FROM kept AS k) END || '],"e":[]}'
    FROM entry AS e, first AS f, alike AS a)
SELECT k.id, k.changes FROM kept AS k
