-- ?1 rows [id, trail, changes]
UPDATE windlass_jobs AS j SET trail = e.value ->> 1, changes = e.value ->> 2
FROM json_each(?1) AS e WHERE j.id = unhex(e.value ->> 0)
