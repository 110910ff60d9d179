-- One job as insert_plain.sql takes many, without the arrays, which for one job would be most of the work. $1 id, $2 queue, $3 kind, $4 priority,
-- $5 delay, $6 max attempts, $7 timeout, $8 metadata, $9 tags joined by commas, $10 encoding, $11 args, $12 state, $13 body of the feed entry
WITH held AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared($class$, (f.last_value & 2147483647)::integer), windlass.now() AS now FROM windlass.feed AS f),
-- The turn is drawn here: below, the server would pass every column through one more node.
entry AS MATERIALIZED (
    SELECT nextval('windlass.feed') AS seq, h.now, CASE WHEN $12::smallint = 2 THEN nextval('windlass.turn') END AS turn FROM held AS h),
added AS (
    INSERT INTO windlass.jobs (id, state, priority, queue, kind, rank, due_at, max_attempts, timeout, created_at, meta, tags, encoding,
        args, trail)
    SELECT $1::uuid, $12::smallint, $4::smallint, $2::text, $3::text, $4::smallint * 140737488355328 + e.turn, e.now + $5::bigint, $6::integer,
        $7::bigint, e.now, $8::text, string_to_array($9::text, ','), $10::smallint, $11::bytea,
        concat('[', e.seq, ',', e.now, ',-1,', $12::smallint, ',0,0]')
    FROM entry AS e
    RETURNING true),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs) VALUES ($2::text, $3::text, $12::smallint, 1)),
told AS (
    INSERT INTO windlass.events (seq, at, body) SELECT e.seq, e.now, $13::text FROM entry AS e)
SELECT windlass.require_plain(ARRAY[$1::uuid], (SELECT count(*) FROM added), ARRAY[$2::text])
