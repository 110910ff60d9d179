-- $1 numbers of transactions: how each ended
SELECT t.number, pg_xact_status(t.number::xid8) FROM unnest($1::text[]) AS t (number)
