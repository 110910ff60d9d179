-- ?1 rows [key, job, mode]: frees keys held in this mode
DELETE FROM windlass_unique WHERE key IN (
    SELECT u.key FROM json_each(?1) AS e CROSS JOIN windlass_unique AS u
    ON u.key = (e.value ->> 0) AND u.job = unhex(e.value ->> 1) AND u.mode = (e.value ->> 2))
