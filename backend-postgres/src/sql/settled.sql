-- Up to which entry the feed is settled, for a statement that starts after this one
SELECT windlass.settled_entries()
