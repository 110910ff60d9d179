-- $1 keys that are named for deletion, $2 now. That can be confirmed from now on, but for those that somebody stages or refers to at this moment.
WITH named AS (
    SELECT key FROM windlass.blobs_doomed WHERE key = ANY ($1::text[]) AND due_at <= $2 ORDER BY key FOR UPDATE SKIP LOCKED)
UPDATE windlass.blobs_doomed AS d SET due_at = 0 FROM named WHERE d.key = named.key
