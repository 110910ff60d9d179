-- ?1 epochs of what was picked, ?7 ids, 16 bytes each; ?2 worker, ?3 claim id, ?4 now, ?5 and ?6 the trail entry around the attempt
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
    ON j.id = substr(?7, e.key * 16 + 1, 16) AND j.epoch = e.value AND j.state = 2)
