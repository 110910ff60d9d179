
-- Version 1 of the schema, continued: what an insert does to what is not its own. Producers have no right to change or lock these rows; the
-- functions do it with the rights of their owner, and no more than an insert needs.

-- The queues with a maximum depth, locked until the commit so that two inserts can't both find the last place.
CREATE FUNCTION windlass.lock_depths(names text[]) RETURNS TABLE (name text, max_depth bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT q.name, q.max_depth FROM windlass.queues AS q
        WHERE q.name = ANY (names) AND q.max_depth IS NOT NULL ORDER BY q.name FOR NO KEY UPDATE;
END
$$;

-- Locks the job that holds a unique key, for the columns of lock_jobs.sql without its errors.
CREATE FUNCTION windlass.lock_holder(holder uuid, held text) RETURNS TABLE (id uuid, state smallint, attempt integer, max_attempts integer,
    snoozes integer, crashes integer, cancelling boolean, kind text, queue text, priority smallint, worker uuid, unique_key text,
    unique_mode smallint, unique_until bigint, errors text, changes integer, notes integer, epoch bigint, claim_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
        j.unique_key, j.unique_mode, j.unique_until, NULL::text, j.changes, j.notes, j.epoch, NULL::uuid
    FROM windlass.jobs AS j WHERE j.id = $1 AND EXISTS (SELECT FROM windlass.unique_keys AS u WHERE u.key = $2 AND u.job = $1)
    FOR NO KEY UPDATE
$$;

-- A trail cut to its first change and the last ones, `keep` in all; one that can't be read stays as it is.
CREATE FUNCTION windlass.cut_trail(trail text, keep integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT string_agg(e.value::text, ',' ORDER BY e.place)
        FROM json_array_elements(('[' || trail || ']')::json) WITH ORDINALITY AS e (value, place)
        WHERE e.place = 1 OR e.place > json_array_length(('[' || trail || ']')::json) - keep + 1);
EXCEPTION WHEN invalid_text_representation THEN
    RETURN trail;
END
$$;

-- Gives the contents of a new job to the waiting holder of its unique key, which lets go of its blobs. $1 holder, $2 state, $3 queue, $4 kind,
-- $5 priority, $6 turn, $7 due time, $8 max attempts, $9 timeout, $10 metadata, $11 tags joined by commas, $12 encoding, $13 args, $14 trail entry,
-- $15 state and $16 epoch as locked, $17 unique key, $18 changes kept, $19 now; answers how many were replaced
CREATE FUNCTION windlass.replace_holder(uuid, smallint, text, text, smallint, bigint, bigint, integer, bigint, text, text, smallint, bytea, text,
    smallint, bigint, text, integer, bigint) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH replaced AS (
        UPDATE windlass.jobs AS j SET
            state = $2, queue = $3, kind = $4, priority = $5, rank = $5 * 140737488355328 + $6, due_at = $7, max_attempts = $8, timeout = $9,
            meta = $10, tags = string_to_array($11, ','), encoding = $12, args = $13, changes = least(j.changes + 1, $18),
            trail = CASE WHEN j.changes < $18 THEN j.trail || ',' || $14 ELSE windlass.cut_trail(j.trail || ',' || $14, $18) END
        WHERE j.id = $1 AND j.state = $15 AND j.epoch = $16 AND j.claim_id IS NULL AND j.unique_key = $17 AND $2 IN (1, 2)
            AND EXISTS (SELECT FROM windlass.unique_keys AS u WHERE u.key = $17 AND u.job = $1)
        RETURNING j.id),
    gone AS (
        DELETE FROM windlass.job_blobs AS b WHERE b.job = (SELECT r.id FROM replaced AS r) RETURNING b.key),
    doomed AS (
        INSERT INTO windlass.blobs_doomed (key, due_at) SELECT DISTINCT g.key, $19 FROM gone AS g ORDER BY g.key
        ON CONFLICT (key) DO UPDATE SET due_at = excluded.due_at)
    SELECT count(*) FROM replaced
$$;

-- Frees keys whose holder was found stale, unless it no longer is: gone, past its window, or final without a window.
CREATE FUNCTION windlass.drop_stale(keys text[], jobs uuid[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM windlass.unique_keys AS u USING unnest($1, $2) AS d (key, job)
        WHERE u.key = ANY ($1) AND u.key = d.key AND u.job = d.job
            AND (coalesce(u.until <= windlass.now(), false)
                OR (u.mode <> 2 OR u.until IS NULL) AND NOT EXISTS (SELECT FROM windlass.jobs AS j WHERE j.id = u.job))
        RETURNING u.key)
    SELECT count(*) FROM gone
$$;

-- Removes at most so many chunks that are nobody's; no row when there were none to look for. An upload that goes on at this moment holds its row
-- or has put it off; once the row is locked here and due, no chunk can be added any more.
CREATE FUNCTION windlass.sweep_blobs(most bigint) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS MATERIALIZED (
        SELECT t.id FROM windlass.blob_trash AS t WHERE t.due_at <= windlass.now() ORDER BY t.due_at LIMIT 1 FOR UPDATE SKIP LOCKED),
    taken AS MATERIALIZED (
        SELECT c.number FROM windlass.blob_chunks AS c WHERE c.id = (SELECT id FROM due) ORDER BY c.id, c.number LIMIT $1),
    gone AS (
        DELETE FROM windlass.blob_chunks AS c WHERE c.id = (SELECT id FROM due) AND c.number = ANY (ARRAY(SELECT number FROM taken))),
    emptied AS (
        DELETE FROM windlass.blob_trash AS t WHERE t.id = (SELECT id FROM due) AND (SELECT count(*) FROM taken) < $1),
    doomed AS (
        UPDATE windlass.blob_trash AS t SET due_at = 0
        WHERE t.id = (SELECT id FROM due) AND t.due_at > 0 AND (SELECT count(*) FROM taken) >= $1)
    SELECT id FROM due
$$;

-- For those roles alone that are granted them.
REVOKE EXECUTE ON FUNCTION windlass.lock_depths, windlass.lock_holder, windlass.replace_holder, windlass.drop_stale, windlass.sweep_blobs FROM PUBLIC;
