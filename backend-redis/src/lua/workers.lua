#!lua flags=no-writes
-- Reads the workers that have a lease, expired ones too until they are removed.
-- KEYS: the namespace.
-- ARGV: none.
-- Returns: for each {id, description, expiry, how many jobs run under it}.
--@ base
local fields, found = read('workers', 'HGETALL', NS .. ':workers'), {}
for n = 1, #fields, 2 do
  local expires = read('leases', 'ZSCORE', NS .. ':leases', fields[n])
  local running = read('own', 'HLEN', NS .. ':own:' .. fields[n])
  found[#found + 1] = { fields[n], fields[n + 1], int(tonumber(expires or 0)), running }
end
return found
