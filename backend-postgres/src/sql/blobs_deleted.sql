-- $1 keys. One that was staged or referred to since it was named is kept in the account.
DELETE FROM windlass.blobs_doomed WHERE key = ANY ($1::text[]) AND due_at = 0
