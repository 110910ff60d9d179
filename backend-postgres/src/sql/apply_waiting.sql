-- Makes jobs wait, each under its fence as it was locked. $1 rows as JSON
UPDATE windlass.jobs AS j SET
    state = s.state, lane = s.lane, rank = CASE WHEN s.state = 2 THEN j.priority * 140737488355328 + s.turn END,
    due_at = coalesce(s.due_at, j.due_at), epoch = j.epoch + s.epochs, attempt = s.attempt, max_attempts = s.max_attempts,
    snoozes = s.snoozes, crashes = s.crashes, cancelling = s.cancelling, errors = coalesce(s.errors, j.errors),
    trail = j.trail || ',' || s.change, changes = j.changes + 1, worker = NULL, claim_id = NULL, deadline_at = NULL
FROM json_to_recordset($1::json) AS s (id uuid, was smallint, epoch bigint, claim uuid, state smallint, lane smallint, turn bigint,
    due_at bigint, epochs integer, attempt integer, max_attempts integer, snoozes integer, crashes integer, cancelling boolean,
    errors text, change text)
WHERE j.id = ANY (ARRAY(SELECT (e ->> 'id')::uuid FROM json_array_elements($1::json) AS e)) AND j.id = s.id AND j.state = s.was
    AND j.epoch = s.epoch AND j.claim_id IS NOT DISTINCT FROM s.claim
