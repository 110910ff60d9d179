-- ?1 rows as in settle_complete.sql
DELETE FROM windlass_jobs WHERE id IN (
    SELECT j.id FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
    ON j.id = unhex(substr(e.value, 1, 32)) AND j.claim_id = unhex(substr(e.value, 33, 32))
        AND j.epoch = CAST(substr(e.value, 65, 10) AS INTEGER) AND j.state = 3)
