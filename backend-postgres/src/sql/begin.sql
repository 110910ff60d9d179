-- The time, and the isolation of the transaction that is open
SELECT windlass.now(), current_setting('transaction_isolation')
