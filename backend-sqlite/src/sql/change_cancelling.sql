-- ?1 rows [id, state and epoch as they were read, …] of running jobs that a user wants cancelled
UPDATE windlass_jobs AS j SET cancelling = 1
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1) AND j.epoch = (e.value ->> 2)
