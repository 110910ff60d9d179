#!lua flags=allow-oom
-- Removes entries of the feed that are older than a while, a bounded number.
-- KEYS: the namespace.
-- ARGV: how long they are kept in micros; the most entries.
-- Returns: {removed, 1 when there may be more}.
--@ base writes
local most = tonumber(ARGV[2])
-- An entry's number is no lower than its time, so it is at least as old as its number says.
local old = read('feed', 'XRANGE', NS .. ':feed', '-', int(math.max(now - tonumber(ARGV[1]), 0)), 'COUNT', math.max(most, 1))
if #old == 0 or most == 0 then return { 0, #old } end
local last = string.match(old[#old][1], '^%d+')
may('XTRIM', NS .. ':feed')
may('HSET', NS)
call('XTRIM', NS .. ':feed', 'MINID', int(tonumber(last) + 1))
call('HSET', NS, 'horizon', last)
return { #old, #old == most and 1 or 0 }
