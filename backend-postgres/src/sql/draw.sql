-- Numbers for $1 entries of the feed, and $2 turns
SELECT true, windlass.next_entry() FROM generate_series(1, $1)
UNION ALL
SELECT false, nextval('windlass.turn') FROM generate_series(1, $2)
