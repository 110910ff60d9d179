-- Entries of the feed: $1 numbers, $2 now, $3 jobs, $4 bodies; changes of the counts: $5 queues, $6 kinds, $7 states, $8 numbers
WITH told AS (
    INSERT INTO windlass.events (seq, at, job, body)
    SELECT e.seq, $2, e.job, e.body FROM unnest($1::bigint[], $3::uuid[], $4::text[]) AS e (seq, job, body))
INSERT INTO windlass.counts (queue, kind, state, jobs)
SELECT * FROM unnest($5::text[], $6::text[], $7::smallint[], $8::bigint[])
