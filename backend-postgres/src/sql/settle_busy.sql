-- $1 ids, $2 epochs, $3 claim ids: jobs that run under this very fence. Nothing is locked.
SELECT j.id FROM windlass.jobs AS j
WHERE j.id = ANY ($1::uuid[]) AND j.claim_id = ANY ($3::uuid[])
    AND EXISTS (
        SELECT FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS w (id, epoch, claim_id)
        WHERE w.id = j.id AND w.epoch = j.epoch AND w.claim_id = j.claim_id AND j.state + 0 = 3)
