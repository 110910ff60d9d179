-- $1 keys. One that was staged again meanwhile is kept in the account.
DELETE FROM windlass.blobs_doomed WHERE key = ANY ($1::text[]) AND due_at <= windlass.now()
