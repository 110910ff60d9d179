#!lua flags=allow-oom
-- Removes final jobs that are past their retention, oldest finish first, a bounded number, and fewer of those that refer to many blobs.
-- KEYS: the namespace.
-- ARGV: the most jobs; for completed, cancelled and discarded jobs how long they are kept in micros, or -1 for ever.
-- Returns: {removed, 1 when there are more}.
--@ base writes jobs keys
local most, old = tonumber(ARGV[1]), {}
for n = 1, 3 do
  local keep = tonumber(ARGV[n + 1])
  if keep >= 0 then
    local key = NS .. ':done:' .. (COMPLETED + n - 1)
    local found = read('finished', 'ZRANGE', key, '-inf', int(now - keep), 'BYSCORE', 'LIMIT', 0, most + 1, 'WITHSCORES')
    for at = 1, #found, 2 do old[#old + 1] = { found[at], tonumber(found[at + 1]), key } end
  end
end
table.sort(old, function(a, b) return a[2] < b[2] end)
local removed, looked = 0, 0
for n = 1, math.min(#old, most) do
  if referred >= REFERENCES then break end
  looked = n
  local job = load(old[n][1])
  if job and final(job.s[STATE]) then
    remove(job, 'finished')
    removed = removed + 1
  else
    aside('finished', old[n][3], old[n][1], old[n][1])
  end
end
if next(zsets) then flush() end
return { removed, #old > looked and 1 or 0 }
