-- Up to which number all entries of the feed can be read; $1 the answer before. When nothing was drawn since, nothing is looked at.
SELECT CASE WHEN f.last_value = $1::bigint THEN f.last_value ELSE windlass.settled_entries() END FROM windlass.feed AS f
