-- ?1 keys. One that was staged or referred to since it was named is kept in the account.
DELETE FROM windlass_blobs_doomed WHERE due_at = 0 AND key IN (SELECT value FROM json_each(?1))
