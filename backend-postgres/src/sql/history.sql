-- $1 job, $2 number after which to look, $3 limit: first the job's kind, queue and own trail, then its single entries. One statement, so that
-- they are of one moment.
SELECT NULL::bigint AS seq, NULL::bigint AS at, r.trail AS body, r.kind, r.queue FROM windlass.records AS r WHERE r.id = $1
UNION ALL
(SELECT e.seq, e.at, e.body, NULL, NULL FROM windlass.events AS e WHERE e.job = $1 AND e.seq > $2 ORDER BY e.job, e.seq LIMIT $3)
