-- Frees keys whose window has passed. $1 limit
DELETE FROM windlass.unique_keys WHERE until <= windlass.now() AND key = ANY (ARRAY(
    SELECT key FROM windlass.unique_keys WHERE until <= windlass.now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING key
