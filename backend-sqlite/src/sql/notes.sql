-- ?1 rows [job, state, epoch and claim id (or null) as they were read, notes to add, progress or null]
UPDATE windlass_jobs AS j SET notes = j.notes + (e.value ->> 4), progress = coalesce(e.value ->> 5, j.progress)
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1)
    AND j.epoch = (e.value ->> 2) AND ((e.value ->> 3) IS NULL OR j.claim_id = unhex(e.value ->> 3))
