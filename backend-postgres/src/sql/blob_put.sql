-- Puts a blob of one chunk, or of none, under its key; whether it replaced one. $1 key, $2 bytes
WITH fresh AS MATERIALIZED (
    SELECT nextval('windlass.blob_ids') AS id),
written AS (
    INSERT INTO windlass.blob_chunks (id, number, bytes) SELECT f.id, 0, $2 FROM fresh AS f WHERE octet_length($2::bytea) > 0),
put AS (
    INSERT INTO windlass.blobs AS b (key, id, len, modified_at) SELECT $1, u.id, octet_length($2::bytea), windlass.now() FROM fresh AS u
    ON CONFLICT (key) DO UPDATE SET
        id = excluded.id, len = excluded.len, modified_at = greatest(excluded.modified_at, b.modified_at), replaced = b.id
    RETURNING b.replaced),
left_over AS (
    INSERT INTO windlass.blob_trash (id, due_at) SELECT p.replaced, 0 FROM put AS p WHERE p.replaced IS NOT NULL)
SELECT p.replaced IS NOT NULL FROM put AS p
