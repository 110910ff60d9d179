-- The time
SELECT windlass.now()
