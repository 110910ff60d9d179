-- ?1 rows [job, key]
DELETE FROM windlass_blobs_doomed WHERE key IN (SELECT e.value ->> 1 FROM json_each(?1) AS e)
