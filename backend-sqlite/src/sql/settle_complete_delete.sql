-- ?1 rows as in settle_complete.sql
DELETE FROM windlass_jobs WHERE id IN (SELECT unhex(substr(e.value, 1, 32)) FROM json_each(?1) AS e)
