-- ?1 rows [id, state and epoch as they were read, …]
DELETE FROM windlass_finished WHERE id IN (
    SELECT f.id FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f
    ON f.id = unhex(e.value ->> 0) AND f.state = (e.value ->> 1) AND f.epoch = (e.value ->> 2))
