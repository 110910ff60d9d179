-- Jobs of any sort, all of them new; an error takes the whole back when one is not. $1 ids, $2 states, $3 queues, $4 kinds, $5 priorities,
-- $6 turns, $7 due times, $8 max attempts, $9 timeouts, $10 unique keys, $11 their modes, $12 their ends, $13 metadata,
-- $14 tags joined by commas, $15 encodings, $16 args, $17 now, $18 trail before the state
WITH added AS (
    INSERT INTO windlass.jobs (id, state, queue, kind, priority, rank, due_at, max_attempts, timeout, unique_key, unique_mode, unique_until,
        meta, tags, encoding, args, created_at, trail)
    SELECT n.id, n.state, n.queue, n.kind, n.priority, n.priority * 140737488355328 + n.turn, n.due_at, n.max_attempts, n.timeout,
        n.unique_key, n.unique_mode, n.unique_until, n.meta, string_to_array(n.tags, ','), n.encoding, n.args, $17,
        $18 || n.state || ',0,0]'
    FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::integer[],
        $9::bigint[], $10::text[], $11::smallint[], $12::bigint[], $13::text[], $14::text[], $15::smallint[], $16::bytea[])
        AS n (id, state, queue, kind, priority, turn, due_at, max_attempts, timeout, unique_key, unique_mode, unique_until, meta, tags,
            encoding, args)
    ON CONFLICT (id) DO NOTHING
    RETURNING id)
SELECT windlass.require_new($1::uuid[], (SELECT count(*) FROM added))
