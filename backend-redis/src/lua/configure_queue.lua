#!lua flags=allow-oom
-- Changes the settings of a queue.
-- KEYS: the namespace.
-- ARGV: the queue; paused ('0' or '1'), concurrency and maximum depth, each '' to leave it as it is, the latter two '-' to remove them.
-- Returns: the settings as stored, a msgpack array of texts: paused, concurrency or '', maximum depth or ''.
--@ base writes
local kept = read('queues', 'HGET', NS .. ':queues', ARGV[1])
local settings = kept and cmsgpack.unpack(kept) or { '0', '', '' }
for n = 1, 3 do
  local change = ARGV[n + 1]
  if change == '-' then settings[n] = '' elseif change ~= '' then settings[n] = change end
end
local packed = cmsgpack.pack(settings)
hash('queues', NS .. ':queues', ARGV[1], packed)
hints[ARGV[1]] = true
check_keys()
write_all()
return packed
