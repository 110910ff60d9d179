-- ?1 what was picked, as text: id of 32 digits, then the epoch; ?2 worker, ?3 claim id, ?4 now, ?5 and ?6 the trail entry
-- around the attempt
UPDATE windlass_jobs SET
    state = 3,
    epoch = epoch + 1,
    attempt = attempt + 1,
    worker = ?2,
    claim_id = ?3,
    started_at = ?4,
    deadline_at = ?4 + timeout,
    trail = trail || ?5 || (attempt + 1) || ?6,
    changes = changes + 1
WHERE id IN (
    SELECT j.id FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
    ON j.id = unhex(substr(e.value, 1, 32)) AND j.epoch = CAST(substr(e.value, 33) AS INTEGER) AND j.state = 2)
