#!lua flags=no-writes
-- Looks at a bounded number of jobs in the order of their ids and returns those that pass.
-- KEYS: the namespace.
-- ARGV: the filter; 1 for newest first, else 0; the id to go on after or ''; how many to look at; how many to return; the most bytes of args.
-- Returns: {the last id looked at or '' at the end, jobs}, each job {id, s, b, e, p, r, a} as stored.
--@ base filter
local filter, after_id = filter_of(ARGV[1]), ARGV[3]
local look, most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ids
if ARGV[2] == '1' then
  local from = after_id == '' and '+' or '(' .. after_id
  ids = read('ids', 'ZRANGE', NS .. ':ids', from, '-', 'BYLEX', 'REV', 'LIMIT', 0, look + 1)
else
  local from = after_id == '' and '-' or '(' .. after_id
  ids = read('ids', 'ZRANGE', NS .. ':ids', from, '+', 'BYLEX', 'LIMIT', 0, look + 1)
end
local found, bytes, last = {}, 0, ''
for n = 1, math.min(#ids, look) do
  local key = NS .. ':j:' .. ids[n]
  local row = read('job', 'HMGET', key, 's', 'b')
  local fine, s = pcall(cmsgpack.unpack, row[1] or '')
  local also, b = pcall(cmsgpack.unpack, row[2] or '')
  -- One that can't be read is passed on, for the reader to tell.
  if not fine or not also or type(s) ~= 'table' or type(b) ~= 'table' or passes(filter, s, b) then
    local rest = read('job', 'HMGET', key, 'e', 'p', 'r', 'a')
    found[#found + 1] = { ids[n], row[1], row[2], rest[1], rest[2], rest[3], rest[4] }
    bytes = bytes + #(rest[4] or '') + #(rest[3] or '')
  end
  if n < #ids then last = ids[n] else last = '' end
  if #found >= most or bytes >= most_bytes then break end
end
return { last, found }
