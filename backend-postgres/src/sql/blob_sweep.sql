-- Removes at most $1 chunks that are nobody's; no row when there were none to look for. An upload that goes on at this moment holds its row or
-- has put it off; once the row is locked here and due, no chunk can be added any more.
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
