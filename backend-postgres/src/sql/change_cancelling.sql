-- $1 ids of running jobs, locked before, that a user wants cancelled
UPDATE windlass.jobs SET cancelling = true WHERE id = ANY ($1::uuid[]) AND claim_id IS NOT NULL
