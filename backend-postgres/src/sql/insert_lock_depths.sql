-- $1 queues: those with a maximum depth, locked until the commit
SELECT name, max_depth FROM windlass.lock_depths($1::text[])
