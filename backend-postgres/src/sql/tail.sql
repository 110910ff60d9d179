-- $1 up to which entry the feed is settled: the last one
SELECT e.seq, e.at, e.job, e.body FROM windlass.events AS e WHERE e.seq <= $1 ORDER BY e.seq DESC LIMIT 1
