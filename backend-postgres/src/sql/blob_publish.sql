-- Adds the last chunk to an upload and puts it under its key, unless it was taken for dead, which no row tells; whether it replaced a blob.
-- $1 id, $2 number and $3 bytes of the chunk, $4 key, $5 length
WITH mine AS (
    DELETE FROM windlass.blob_trash WHERE id = $1 AND due_at > 0 RETURNING id),
written AS (
    INSERT INTO windlass.blob_chunks (id, number, bytes) SELECT m.id, $2, $3 FROM mine AS m),
put AS (
    INSERT INTO windlass.blobs AS b (key, id, len, modified_at) SELECT $4, u.id, $5, windlass.now() FROM mine AS u
    ON CONFLICT (key) DO UPDATE SET
        id = excluded.id, len = excluded.len, modified_at = greatest(excluded.modified_at, b.modified_at), replaced = b.id
    RETURNING b.replaced),
left_over AS (
    INSERT INTO windlass.blob_trash (id, due_at) SELECT p.replaced, 0 FROM put AS p WHERE p.replaced IS NOT NULL)
SELECT p.replaced IS NOT NULL FROM put AS p
