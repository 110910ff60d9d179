-- ?1 rows [id, state, epoch and claim id (or null) as they were read, trail, changes]
UPDATE windlass_jobs AS j SET trail = e.value ->> 4, changes = e.value ->> 5
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1)
    AND j.epoch = (e.value ->> 2) AND ((e.value ->> 3) IS NULL OR j.claim_id = unhex(e.value ->> 3))
