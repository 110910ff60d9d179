#!lua flags=no-writes
-- Reads how many jobs there are, at one moment.
-- KEYS: the namespace.
-- ARGV: queues; none for all.
-- Returns: the counts as the hash has them, queue/kind/state and number in turn.
--@ base
local wanted
for n = 1, #ARGV do
  wanted = wanted or {}
  wanted[ARGV[n]] = true
end
local found, fields = {}, read('counts', 'HGETALL', NS .. ':counts')
for n = 1, #fields, 2 do
  local queue = string.match(fields[n], '^(.*)/.*/%d$')
  if queue and (not wanted or wanted[queue]) then
    found[#found + 1] = fields[n]
    found[#found + 1] = fields[n + 1]
  end
end
return found
