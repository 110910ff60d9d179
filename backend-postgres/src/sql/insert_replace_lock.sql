-- Locks the holder of a unique key, as lock_jobs.sql does. $1 holder, $2 key
SELECT h.* FROM windlass.lock_holder($1::uuid, $2::text) AS h
