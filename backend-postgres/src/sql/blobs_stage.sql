-- $1 keys, $2 for how long
INSERT INTO windlass.blobs_doomed (key, due_at) SELECT DISTINCT k, windlass.now() + $2 FROM unnest($1::text[]) AS k ORDER BY k
ON CONFLICT (key) DO UPDATE SET due_at = greatest(blobs_doomed.due_at, excluded.due_at)
