#!lua flags=no-writes
-- Reads some of the workers that have a lease, expired ones too until they are removed. One may come twice.
-- KEYS: the namespace.
-- ARGV: where to go on, 0 at first; about how many.
-- Returns: {where to go on, 0 at the end, workers}, each {id, description, expiry, how many jobs run under it}.
--@ base
local page = read('workers', 'HSCAN', NS .. ':workers', ARGV[1], 'COUNT', ARGV[2])
local fields, found = page[2], {}
for n = 1, #fields, 2 do
  local expires = read('leases', 'ZSCORE', NS .. ':leases', fields[n])
  local running = read('own', 'HLEN', NS .. ':own:' .. fields[n])
  found[#found + 1] = { fields[n], fields[n + 1], int(tonumber(expires or 0)), running }
end
return { page[1], found }
