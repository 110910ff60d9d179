-- Begins an upload with its first chunk. $1 how long it may pause, $2 bytes; answers the id
WITH begun AS (
    INSERT INTO windlass.blob_trash (id, due_at) VALUES (nextval('windlass.blob_ids'), windlass.now() + $1) RETURNING id),
written AS (
    INSERT INTO windlass.blob_chunks (id, number, bytes) SELECT b.id, 0, $2 FROM begun AS b)
SELECT b.id FROM begun AS b
