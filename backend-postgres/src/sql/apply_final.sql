-- Makes jobs final, each under its fence as it was locked. $1 rows as JSON, $2 results, $3 now
WITH step AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS s (id uuid, was smallint, epoch bigint, claim uuid, state smallint, epochs integer,
        attempt integer, max_attempts integer, snoozes integer, crashes integer, errors text, change text, owner boolean,
        encoding smallint, place integer)),
gone AS (
    DELETE FROM windlass.jobs AS j USING step AS s
    WHERE j.id = ANY (ARRAY(SELECT id FROM step)) AND j.id = s.id AND j.state = s.was AND j.epoch = s.epoch
        AND j.claim_id IS NOT DISTINCT FROM s.claim
    RETURNING j.*)
INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker,
    claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags,
    progress, errors, encoding, args, result_encoding, result, trail)
SELECT j.id, s.state, j.priority, j.queue, j.kind, j.due_at, j.epoch + s.epochs, s.attempt, s.max_attempts, s.snoozes, s.crashes,
    CASE WHEN s.owner THEN j.worker END, CASE WHEN s.owner THEN j.claim_id END, j.started_at, $3, j.timeout, j.created_at, j.unique_key,
    j.unique_mode, j.unique_until, j.notes, j.changes + 1, j.meta, j.tags, j.progress, coalesce(s.errors, j.errors), j.encoding, j.args,
    s.encoding, ($2::bytea[])[s.place], j.trail || ',' || s.change
FROM gone AS j JOIN step AS s ON s.id = j.id
