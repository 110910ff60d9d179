-- Jobs without unique key, blobs or depth to watch, all of them new; an error takes the whole back when one is not.
-- $1 ids, $2 queues, $3 kinds, $4 priorities, $5 delays, $6 max attempts, $7 timeouts, $8 metadata, $9 tags joined by commas,
-- $10 encodings, $11 args, $12 the queues and $13 kinds and $14 states and $15 numbers of the counts, $16 body of the feed entry
-- The lock is that of next_entry(); the statement is a transaction of its own, so it takes no note of it.
WITH held AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared($class$, (f.last_value & 2147483647)::integer), windlass.now() AS now FROM windlass.feed AS f),
drawn AS MATERIALIZED (SELECT nextval('windlass.feed') AS seq, h.now FROM held AS h),
entry AS MATERIALIZED (SELECT d.seq, d.now, '[' || d.seq || ',' || d.now || ',-1,' AS trail FROM drawn AS d),
added AS (
    INSERT INTO windlass.jobs (id, state, priority, queue, kind, rank, due_at, max_attempts, timeout, created_at, meta, tags, encoding,
        args, trail)
    SELECT n.id, CASE WHEN n.delay > 0 THEN 1 ELSE 2 END, n.priority, n.queue, n.kind,
        CASE WHEN n.delay <= 0 THEN n.priority * 140737488355328 + nextval('windlass.turn') END,
        e.now + n.delay, n.max_attempts, n.timeout, e.now, n.meta, string_to_array(n.tags, ','), n.encoding, n.args,
        e.trail || CASE WHEN n.delay > 0 THEN '1,0,0]' ELSE '2,0,0]' END
    FROM entry AS e, unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::integer[], $7::bigint[], $8::text[],
        $9::text[], $10::smallint[], $11::bytea[])
        AS n (id, queue, kind, priority, delay, max_attempts, timeout, meta, tags, encoding, args)
    RETURNING true),
counted AS (
    INSERT INTO windlass.counts (queue, kind, state, jobs)
    SELECT * FROM unnest($12::text[], $13::text[], $14::smallint[], $15::bigint[])),
told AS (
    INSERT INTO windlass.events (seq, at, body) SELECT e.seq, e.now, $16 FROM entry AS e)
SELECT windlass.require_plain($1::uuid[], (SELECT count(*) FROM added), $12::text[])
