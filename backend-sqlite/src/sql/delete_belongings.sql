-- ?1 ids of jobs that go: what belongs to them, ?2 now
INSERT OR REPLACE INTO windlass_blobs_doomed (key, due_at)
SELECT b.key, ?2 FROM json_each(?1) AS e CROSS JOIN windlass_job_blobs AS b ON b.job = unhex(e.value);
DELETE FROM windlass_job_blobs WHERE job IN (SELECT unhex(e.value) FROM json_each(?1) AS e);
DELETE FROM windlass_events WHERE job IN (SELECT unhex(e.value) FROM json_each(?1) AS e)
