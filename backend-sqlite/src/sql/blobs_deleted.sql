-- ?1 keys, ?2 now. One that was staged again meanwhile is kept in the account.
DELETE FROM windlass_blobs_doomed WHERE due_at <= ?2 AND key IN (SELECT value FROM json_each(?1))
