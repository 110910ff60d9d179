#!lua flags=no-writes
-- Reads entries of the feed.
-- KEYS: the namespace.
-- ARGV: the first number to read; the most entries.
-- Returns: {the number up to which the feed was pruned, the last number given or 0, entries}.
--@ base
local entries = read('feed', 'XRANGE', NS .. ':feed', ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
local horizon = tonumber(call('HGET', NS, 'horizon') or 0)
return { horizon, last_seq, entries }
