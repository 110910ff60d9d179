-- Completions that carry nothing but a result. $1 ids, $2 epochs, $3 claim ids, $4 result encodings, $5 results. Jobs that don't run under
-- their key, or that somebody else is changing at this moment, are passed over; what was completed comes back.
-- The state is compared after the rows are read (elsewhere as `state + 0`): a literal beside the table would let the planner walk all running jobs.
WITH want AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::smallint[], $5::bytea[]) AS w (id, epoch, claim_id, encoding, result)),
locked AS MATERIALIZED (
    SELECT j.* FROM windlass.jobs AS j WHERE j.id = ANY ($1::uuid[]) AND j.claim_id = ANY ($3::uuid[]) FOR NO KEY UPDATE SKIP LOCKED),
mine AS MATERIALIZED (
    SELECT l.*, w.encoding AS result_encoding, w.result FROM locked AS l
    JOIN want AS w ON w.id = l.id AND w.epoch = l.epoch AND w.claim_id = l.claim_id WHERE l.state = 3),
drawn AS MATERIALIZED (
    SELECT windlass.next_entry() AS seq, windlass.now() AS now WHERE (SELECT count(*) FROM mine) > 0),
entry AS MATERIALIZED (SELECT d.seq, d.now, ',[' || d.seq || ',' || d.now || ',3,5,' AS head FROM drawn AS d),
gone AS (
    DELETE FROM windlass.jobs AS j WHERE j.id = ANY (ARRAY(SELECT m.id FROM mine AS m))),
kept AS (
    INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker,
        claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags,
        progress, errors, encoding, args, result_encoding, result, trail)
    SELECT m.id, 5, m.priority, m.queue, m.kind, m.due_at, m.epoch, m.attempt, m.max_attempts, m.snoozes, m.crashes, m.worker,
        m.claim_id, m.started_at, e.now, m.timeout, m.created_at, m.unique_key, m.unique_mode, m.unique_until, m.notes, m.changes + 1,
        m.meta, m.tags, m.progress, m.errors, m.encoding, m.args, m.result_encoding, m.result,
        concat(m.trail, e.head, m.attempt, ',4]')
    FROM mine AS m, entry AS e),
freed AS (
    DELETE FROM windlass.unique_keys AS u
    WHERE u.key = ANY (ARRAY(SELECT m.unique_key FROM mine AS m WHERE m.unique_mode <> 2))
        AND u.job = ANY (ARRAY(SELECT m.id FROM mine AS m WHERE m.unique_mode <> 2)) AND u.mode <> 2),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT m.queue, m.kind, s.state, s.sign * m.jobs FROM (SELECT queue, kind, count(*) AS jobs FROM mine GROUP BY queue, kind) AS m,
        (VALUES (3::smallint, -1), (5::smallint, 1)) AS s (state, sign)),
told AS (
    INSERT INTO windlass.events (seq, at, body)
    SELECT e.seq, e.now, '{"c":4,"n":[],"w":[],"j":[' || (
        SELECT string_agg(concat('["', encode(uuid_send(m.id), 'hex'), '","', m.kind, '","', m.queue, '",3,5,', m.attempt, ',"',
            encode(uuid_send(m.worker), 'hex'), '"]'), ',' ORDER BY m.id)
        FROM mine AS m) || '],"e":[]}'
    FROM entry AS e)
SELECT m.id, m.changes + 1 FROM mine AS m
