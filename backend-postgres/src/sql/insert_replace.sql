-- Gives the contents of a new job to the waiting holder of its unique key. $1 holder, $2 state, $3 queue, $4 kind, $5 priority, $6 turn, $7 due time,
-- $8 max attempts, $9 timeout, $10 metadata, $11 tags joined by commas, $12 encoding, $13 args, $14 trail entry, $15 state and $16 epoch as locked
UPDATE windlass.jobs AS j SET
    state = $2, queue = $3, kind = $4, priority = $5, rank = $5::smallint * 140737488355328 + $6::bigint, due_at = $7, max_attempts = $8,
    timeout = $9, meta = $10, tags = string_to_array($11, ','), encoding = $12, args = $13, trail = j.trail || ',' || $14,
    changes = j.changes + 1
WHERE j.id = $1 AND j.state = $15 AND j.epoch = $16 AND j.claim_id IS NULL
