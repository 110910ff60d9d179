-- insert.sql for jobs of one shape that are available at once and hold no unique key. ?1 rows as text: id of 32 digits, offset
-- and length of the args and place in the turn of 10 digits each; ?2 args, ?3 now, ?4 trail, ?5 queue, ?6 kind, ?7 priority,
-- ?8 rank of place 0, ?9 max_attempts, ?10 timeout, ?11 encoding, ?12 meta, ?13 tags
INSERT INTO windlass_jobs (id, state, lane, queue, kind, priority, rank, due_at, epoch, attempt, max_attempts, snoozes,
    crashes, cancelling, timeout, created_at, notes, changes, meta, tags, encoding, args, trail)
SELECT unhex(substr(e.value, 1, 32)), 2, 0, ?5, ?6, ?7, ?8 + CAST(substr(e.value, 53, 10) AS INTEGER), ?3, 0, 0, ?9, 0, 0, 0,
    ?10, ?3, 0, 1, ?12, ?13, ?11,
    substr(?2, CAST(substr(e.value, 33, 10) AS INTEGER), CAST(substr(e.value, 43, 10) AS INTEGER)), ?4
FROM json_each(?1) AS e
