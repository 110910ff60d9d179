-- $1 number of an entry, $2 up to which the feed is settled: are there entries between
SELECT EXISTS (SELECT FROM windlass.events AS e WHERE e.seq > $1 AND e.seq <= $2)
