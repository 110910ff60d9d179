#!lua flags=allow-oom
-- Applies a user's change to jobs: to those named, or to those of the next ids that pass a filter.
-- KEYS: the namespace.
-- ARGV: the limits; the change (msgpack array: 0 cancel, 1 retry, 2 reschedule, 3 delete or 4 retry unless completed; the failure of a cancelled job or ''; the event of a
-- request to cancel; 1 when the start is a time; the start); the filter or ''; the id to go on after or ''; how many to look at; the ids, when there
-- is no filter.
-- Returns: {changed, the last id looked at or '' at the end or, of ids that are given, when all were looked at}, or {-1, seconds} when the time is too far.
--@ base writes jobs keys machine filter change
limits(ARGV[1])
local change = cmsgpack.unpack(ARGV[2])
local what, most = change[1], tonumber(ARGV[5])
local delay = change[5]
if change[4] == 1 then delay = math.max(delay - now, 0) end
if what == 2 and math.floor(delay / 1000000) > FARTHEST then return { -1, math.min(math.floor(delay / 1000000), LAST) } end

local ids, last = {}, ''
local filter = ARGV[3] ~= '' and filter_of(ARGV[3])
if filter then
  local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
  ids = read('ids', 'ZRANGE', NS .. ':ids', from, '+', 'BYLEX', 'LIMIT', 0, most + 1)
  if #ids > most then last = ids[most] end
else
  for n = 6, #ARGV do ids[#ids + 1] = ARGV[n] end
end

local changed = 0
local looks = math.min(#ids, most)
for n = 1, looks do
  local job = load(ids[n])
  -- A job that this call rescues is not changed by it.
  local meant = job and not job.rescued and (not filter or passes(filter, job.s, job.b))
  if meant and change_one(job, change, delay) then changed = changed + 1 end
  if referred >= REFERENCES and n < looks then
    last = ids[n]
    break
  end
end
-- Lost holders of keys may have been rescued all the same.
if changed > 0 or #dirty > 0 then flush() end
return { changed, last }
