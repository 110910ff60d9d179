-- ?1 rows [job, notes to add, progress or null]
UPDATE windlass_jobs AS j SET notes = j.notes + (e.value ->> 1), progress = coalesce(e.value ->> 2, j.progress)
FROM json_each(?1) AS e WHERE j.id = unhex(e.value ->> 0)
