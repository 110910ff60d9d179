-- ?1 ids of running jobs that a user wants cancelled
UPDATE windlass_jobs SET cancelling = 1 WHERE id IN (SELECT unhex(e.value) FROM json_each(?1) AS e)
