-- $1 keys
DELETE FROM windlass.blobs_doomed WHERE key = ANY ($1::text[])
