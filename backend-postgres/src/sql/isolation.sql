-- The isolation of the transaction that is open
SELECT current_setting('transaction_isolation')
