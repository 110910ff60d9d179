-- The time, and the transaction's number, which shows later how it ended
SELECT windlass.now(), pg_current_xact_id()::text
