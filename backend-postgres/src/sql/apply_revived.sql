-- Makes final jobs wait again. $1 rows as JSON, as in apply_waiting.sql
WITH step AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS s (id uuid, was smallint, epoch bigint, claim uuid, state smallint, lane smallint,
        turn bigint, due_at bigint, epochs integer, attempt integer, max_attempts integer, snoozes integer, crashes integer,
        cancelling boolean, errors text, change text)),
gone AS (
    DELETE FROM windlass.finished AS f USING step AS s
    WHERE f.id = ANY (ARRAY(SELECT id FROM step)) AND f.id = s.id AND f.state = s.was AND f.epoch = s.epoch
        AND f.claim_id IS NOT DISTINCT FROM s.claim
    RETURNING f.*)
INSERT INTO windlass.jobs (id, state, lane, priority, queue, kind, rank, due_at, epoch, attempt, max_attempts, snoozes, crashes,
    started_at, cancelling, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags, progress, errors,
    encoding, args, trail)
SELECT f.id, s.state, s.lane, f.priority, f.queue, f.kind, CASE WHEN s.state = 2 THEN f.priority * 140737488355328 + s.turn END,
    coalesce(s.due_at, f.due_at), f.epoch + s.epochs, s.attempt, s.max_attempts, s.snoozes, s.crashes, f.started_at, s.cancelling,
    f.timeout, f.created_at, f.unique_key, f.unique_mode, f.unique_until, f.notes, f.changes + 1, f.meta, f.tags, f.progress,
    coalesce(s.errors, f.errors), f.encoding, f.args, f.trail || ',' || s.change
FROM gone AS f JOIN step AS s ON s.id = f.id
