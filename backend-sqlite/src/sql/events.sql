-- ?1 number from which to look, ?2 how many entries: with each, the highest number of a pruned one
SELECT e.seq, e.at, e.job, e.body, (SELECT horizon FROM windlass_tick)
FROM windlass_events AS e WHERE e.seq >= ?1 ORDER BY e.seq LIMIT ?2
