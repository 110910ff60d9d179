-- $1 ids, $2 epochs, $3 claim ids: jobs that are final under this very fence
SELECT f.id, f.state FROM windlass.finished AS f
JOIN unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS w (id, epoch, claim_id)
    ON w.id = f.id AND w.epoch = f.epoch AND w.claim_id = f.claim_id
WHERE f.id = ANY ($1::uuid[])
