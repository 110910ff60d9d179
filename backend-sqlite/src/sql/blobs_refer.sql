-- ?1 rows [job, key]
INSERT OR IGNORE INTO windlass_job_blobs (job, key) SELECT unhex(e.value ->> 0), e.value ->> 1 FROM json_each(?1) AS e;
DELETE FROM windlass_blobs_doomed WHERE key IN (SELECT e.value ->> 1 FROM json_each(?1) AS e)
