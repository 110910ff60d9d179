-- ?1 rows [id, state, epoch and claim id (or null) as they were read, …]
DELETE FROM windlass_jobs WHERE id IN (
    SELECT j.id FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
    ON j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1)
        AND j.epoch = (e.value ->> 2) AND ((e.value ->> 3) IS NULL OR j.claim_id = unhex(e.value ->> 3)))
