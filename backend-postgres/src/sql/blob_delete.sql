-- $1 keys. Locked in their order, so that two deletions don't wait for one another.
WITH locked AS MATERIALIZED (
    SELECT b.key FROM windlass.blobs AS b WHERE b.key = ANY ($1::text[]) ORDER BY b.key FOR UPDATE),
gone AS (
    DELETE FROM windlass.blobs AS b WHERE b.key = ANY (ARRAY(SELECT l.key FROM locked AS l)) RETURNING b.id)
INSERT INTO windlass.blob_trash (id, due_at) SELECT g.id, 0 FROM gone AS g
