-- Adds a chunk to an upload, unless it was taken for dead, which no row tells. $1 id, $2 number, $3 bytes, $4 how long it may pause
WITH alive AS (
    UPDATE windlass.blob_trash SET due_at = windlass.now() + $4 WHERE id = $1 AND due_at > 0 RETURNING id)
INSERT INTO windlass.blob_chunks (id, number, bytes) SELECT a.id, $2, $3 FROM alive AS a RETURNING id
