-- $1 queues: how many jobs wait in each
SELECT queue, sum(jobs)::bigint FROM windlass.counts WHERE queue = ANY ($1::text[]) AND state IN (0, 1, 2, 4) GROUP BY queue
