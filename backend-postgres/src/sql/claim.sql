-- Takes the first available jobs of one queue, of several kinds. $1 worker, $2 claim id, $3 queue, $4 lane; ranges to look at: $5 kinds, $6 ranks above,
-- $7 and up to, $8 at most so many of the kind; $9 at most so many in all, $10 encodings that can be read
WITH clock AS MATERIALIZED (SELECT windlass.now() AS now),
-- No rows unless the worker has a lease and the queue is not paused.
open AS MATERIALIZED (
    SELECT c.now FROM clock AS c
    WHERE EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = $1 AND w.expires_at > c.now)
        AND NOT EXISTS (SELECT FROM windlass.queues AS q WHERE q.name = $3 AND q.paused)),
-- First what there is, in order, with nothing locked; then one after the other, if it is still what was seen, until there are enough.
seen AS MATERIALIZED (
    SELECT f.id, f.kind FROM (
        SELECT p.id, p.rank, r.kind, r.most, row_number() OVER (PARTITION BY r.kind ORDER BY p.rank) AS place
        FROM open, unnest($5::text[], $6::bigint[], $7::bigint[], $8::integer[]) AS r (kind, above, upto, most)
        CROSS JOIN LATERAL (
            SELECT j.id, j.rank FROM windlass.jobs AS j
            WHERE j.state = 2 AND j.queue = $3 AND j.lane = $4 AND j.kind = r.kind AND j.rank > r.above AND j.rank <= r.upto
                AND j.encoding = ANY ($10::smallint[])
            ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT least(r.most, $9)) AS p
        ) AS f
    WHERE f.place <= f.most ORDER BY f.rank),
several AS MATERIALIZED (
    SELECT l.id FROM seen AS s CROSS JOIN LATERAL (
        SELECT j.id FROM windlass.jobs AS j
        WHERE j.id = s.id AND j.state + 0 = 2 AND j.queue = $3 AND j.lane = $4 AND j.kind = s.kind AND j.encoding = ANY ($10::smallint[])
        FOR NO KEY UPDATE SKIP LOCKED) AS l
    LIMIT $9),
-- Others were at the same rows: what they leave, kind by kind, though more is locked than taken.
rest AS MATERIALIZED (
    SELECT f.id FROM (
        SELECT p.id, p.rank, r.most, row_number() OVER (PARTITION BY r.kind ORDER BY p.rank) AS place
        FROM open, unnest($5::text[], $6::bigint[], $7::bigint[], $8::integer[]) AS r (kind, above, upto, most)
        CROSS JOIN LATERAL (
            SELECT j.id, j.rank FROM windlass.jobs AS j
            WHERE j.state = 2 AND j.queue = $3 AND j.lane = $4 AND j.kind = r.kind AND j.rank > r.above AND j.rank <= r.upto
                AND j.encoding = ANY ($10::smallint[])
            ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT least(r.most, $9)
            FOR NO KEY UPDATE SKIP LOCKED) AS p
        WHERE (SELECT count(*) FROM several) < least($9, (SELECT count(*) FROM seen))) AS f
    WHERE f.place <= f.most ORDER BY f.rank LIMIT $9),
picked AS MATERIALIZED (
    SELECT id FROM several WHERE (SELECT count(*) FROM several) >= least($9, (SELECT count(*) FROM seen))
    UNION ALL
    SELECT id FROM rest),
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
        trail = concat(j.trail, e.head, j.attempt + 1, e.tail)
    FROM entry AS e
    WHERE j.id = ANY (ARRAY(SELECT id FROM picked)) AND j.state + 0 = 2
    RETURNING j.id, j.epoch, j.kind, j.encoding, j.args, j.meta, j.tags, j.priority, j.attempt, j.max_attempts, j.snoozes, j.crashes,
        j.timeout, j.progress, j.created_at, j.due_at, j.rank, j.changes, j.unique_key, j.unique_mode),
freed AS (
    DELETE FROM windlass.unique_keys AS u
    WHERE u.key = ANY (ARRAY(SELECT t.unique_key FROM took AS t WHERE t.unique_mode = 0))
        AND u.job = ANY (ARRAY(SELECT t.id FROM took AS t WHERE t.unique_mode = 0)) AND u.mode = 0),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT $3, t.kind, s.state, s.sign * t.jobs
    FROM (SELECT kind, count(*) AS jobs FROM took GROUP BY kind) AS t, (VALUES (2::smallint, -1), (3::smallint, 1)) AS s (state, sign)),
told AS (
    INSERT INTO windlass.events (seq, at, body)
    SELECT e.seq, e.now, '{"c":3,"n":["' || $3 || '"],"w":["' || encode(uuid_send($1::uuid), 'hex') || '"],"j":[' || (
        SELECT string_agg(concat('["', encode(uuid_send(t.id), 'hex'), '","', t.kind, '",0,2,3,', t.attempt, ',0]'), ',' ORDER BY t.id)
        FROM took AS t) || '],"e":[]}'
    FROM entry AS e)
-- The first row stands for the claim: whether the worker has a lease; instead of an epoch the last turn given out, if the queue was looked at;
-- instead of a rank how long the look took.
SELECT EXISTS (SELECT FROM windlass.workers AS w, clock AS c WHERE w.id = $1 AND w.expires_at > c.now) AS alive,
    NULL::uuid, (SELECT t.last_value FROM windlass.turn AS t, open), NULL::text, NULL::smallint, NULL::bytea, NULL::text, NULL::text[],
    NULL::smallint, NULL::integer, NULL::integer, NULL::integer, NULL::integer, NULL::bigint, NULL::text, NULL::bigint, NULL::bigint,
    (SELECT (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint FROM (SELECT count(*) FROM picked) AS p),
    NULL::integer
UNION ALL
SELECT true, t.id, t.epoch, t.kind, t.encoding, t.args, t.meta, t.tags, t.priority, t.attempt, t.max_attempts, t.snoozes, t.crashes,
    t.timeout, t.progress, t.created_at, t.due_at, t.rank, t.changes
FROM took AS t
