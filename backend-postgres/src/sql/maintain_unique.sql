-- Frees keys whose window has passed. $1 limit, $2 windows that end after this time
DELETE FROM windlass.unique_keys WHERE until <= windlass.now() AND key = ANY (ARRAY(
    SELECT key FROM windlass.unique_keys WHERE until > $2 AND until <= windlass.now() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING key
