-- ?1 keys as in settle.sql: jobs that are final under this very fence
SELECT f.id, f.state FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f
ON f.id = unhex(substr(e.value, 1, 32)) AND f.claim_id = unhex(substr(e.value, 33, 32))
    AND f.epoch = CAST(substr(e.value, 65) AS INTEGER)
