-- Notes of running jobs, each under its fence. $1 jobs, $2 epochs, $3 claim ids, $4 notes to add, $5 progress
UPDATE windlass.jobs AS j SET notes = j.notes + n.added, progress = coalesce(n.progress, j.progress)
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::integer[], $5::text[]) AS n (id, epoch, claim_id, added, progress)
WHERE j.id = ANY ($1::uuid[]) AND j.id = n.id AND j.epoch = n.epoch AND j.claim_id = n.claim_id AND j.state + 0 = 3
