-- Tells who listens. $1 channel, $2 payload. Commits that notify wait for each other, so this one doesn't wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)
