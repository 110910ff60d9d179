-- ?1 and ?2 as in settle_complete.sql, which has written just these rows; ?3 their claim ids and ?4 their epochs, each but once. Safe only behind
-- that one in the same script: it has an exact count, while this compares no claim id or epoch with its own job
DELETE FROM windlass_jobs WHERE id IN (SELECT substr(?2, e.key * 32 + 1, 16) FROM json_each(?1) AS e)
    AND claim_id IN (SELECT unhex(c.value) FROM json_each(?3) AS c)
    AND epoch IN (SELECT p.value FROM json_each(?4) AS p) AND state = 3
