-- Takes the first available jobs of one queue, all of one kind. $1 worker, $2 claim id, $3 queue, $4 lane, $5 kind; ranges to look at in the order of
-- ranks: $6 ranks above, $7 and up to; $8 at most so many, $9 encodings that can be read. It answers as claim.sql does.
WITH clock AS MATERIALIZED (SELECT windlass.now() AS now),
-- No rows unless the worker has a lease and the queue is not paused.
open AS MATERIALIZED (
    SELECT c.now FROM clock AS c
    WHERE EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = $1 AND w.expires_at > c.now)
        AND NOT EXISTS (SELECT FROM windlass.queues AS q WHERE q.name = $3 AND q.paused)),
-- No row is locked that is not taken, but one that was moved since this statement began: it is not seen at its new place, and left for the next claim.
picked AS MATERIALIZED (
    SELECT p.place
    FROM open, unnest($6::bigint[], $7::bigint[]) AS r (above, upto)
    CROSS JOIN LATERAL (
        SELECT j.ctid AS place FROM windlass.jobs AS j
        WHERE j.state = 2 AND j.queue = $3 AND j.lane = $4 AND j.kind = $5 AND j.rank > r.above AND j.rank <= r.upto
            AND j.encoding = ANY ($9::smallint[])
        ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT $8
        FOR NO KEY UPDATE SKIP LOCKED) AS p
    LIMIT $8),
drawn AS MATERIALIZED (
    SELECT windlass.next_entry() AS seq, c.now FROM clock AS c WHERE (SELECT count(*) FROM picked) > 0),
-- What is the same in the trail of each.
entry AS MATERIALIZED (
    SELECT d.seq, d.now, ',[' || d.seq || ',' || d.now || ',2,3,' AS head, ',3,"' || encode(uuid_send($1::uuid), 'hex') || '"]' AS tail
    FROM drawn AS d),
took AS (
    UPDATE windlass.jobs AS j SET
        state = 3, epoch = j.epoch + 1, attempt = j.attempt + 1, worker = $1, claim_id = $2, started_at = e.now,
        deadline_at = e.now + j.timeout, changes = j.changes + 1,
        trail = j.trail || e.head || (j.attempt + 1)::text || e.tail
    FROM entry AS e
    WHERE j.ctid = ANY (ARRAY(SELECT p.place FROM picked AS p)) AND j.state + 0 = 2
    RETURNING j.id, j.epoch, j.encoding, j.args, j.meta, j.tags, j.priority, j.attempt, j.max_attempts, j.snoozes, j.crashes,
        j.timeout, j.progress, j.created_at, j.due_at, j.rank, j.changes, j.unique_key, j.unique_mode),
freed AS (
    DELETE FROM windlass.unique_keys AS u
    WHERE u.key = ANY (ARRAY(SELECT t.unique_key FROM took AS t WHERE t.unique_mode = 0))
        AND u.job = ANY (ARRAY(SELECT t.id FROM took AS t WHERE t.unique_mode = 0)) AND u.mode = 0),
-- What the counts and the feed are to say.
said AS MATERIALIZED (
    SELECT count(*) AS jobs, string_agg('["' || encode(uuid_send(t.id), 'hex') || '",1,0,2,3,' || t.attempt::text || ',0]', ',' ORDER BY t.id) AS body
    FROM took AS t),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT $3, $5, v.state, v.sign * s.jobs FROM said AS s, (VALUES (2::smallint, -1), (3::smallint, 1)) AS v (state, sign) WHERE s.jobs > 0),
told AS (
    INSERT INTO windlass.events (seq, at, body)
    SELECT e.seq, e.now,
        '{"c":3,"n":["' || $3 || '","' || $5 || '"],"w":["' || encode(uuid_send($1::uuid), 'hex') || '"],"j":[' || s.body || '],"e":[]}'
    FROM entry AS e, said AS s WHERE s.jobs > 0)
SELECT EXISTS (SELECT FROM windlass.workers AS w, clock AS c WHERE w.id = $1 AND w.expires_at > c.now) AS alive,
    NULL::uuid, (SELECT t.last_value FROM windlass.turn AS t, open), NULL::text, NULL::smallint, NULL::bytea, NULL::text, NULL::text[],
    NULL::smallint, NULL::integer, NULL::integer, NULL::integer, NULL::integer, NULL::bigint, NULL::text, NULL::bigint, NULL::bigint,
    (SELECT (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint FROM (SELECT count(*) FROM picked) AS p),
    NULL::integer
UNION ALL
SELECT true, t.id, t.epoch, $5, t.encoding, t.args, t.meta, t.tags, t.priority, t.attempt, t.max_attempts, t.snoozes, t.crashes,
    t.timeout, t.progress, t.created_at, t.due_at, t.rank, t.changes
FROM took AS t
