-- Jobs: read once, changed here, written at the end. The only place where a state changes.
-- A job's hash holds: s what changes (a msgpack array, see below), b what came with it, a its args, t its trail, e its errors, p its progress,
-- r its result (the first byte is the encoding), x the blobs of the result.
local STATE, EPOCH, ATTEMPT, MOST, SNOOZES, CRASHES, CANCELLING = 1, 2, 3, 4, 5, 6, 7
local CREATED, DUE, STARTED, FINISHED, WORKER, CLAIM = 8, 9, 10, 11, 12, 13
local RANK, CHANGES, NOTES, DEADLINE, UNTIL = 14, 15, 16, 17, 18
local KIND, QUEUE, PRIORITY, TIMEOUT, UNIQUE, MODE, ENCODING, META, TAGS, BLOBS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local HELD_STARTED, HELD_FINISHED, HELD_WINDOW = 0, 1, 2
-- Jobs in one entry of the feed.
local TOGETHER = 500
local GRACE = 10000000
-- Set by the scripts that change jobs: errors kept, changes kept, notes kept, the farthest delay in seconds.
local ERRORS_KEPT, CHANGES_KEPT, NOTES_KEPT, FARTHEST

local jobs, dirty = {}, {}
-- Jobs as they are stored, or are to be: s, b, t and what is read also. Those that go the short way are changed there; moved has their ids, and quick is
-- their entry of the feed.
local rows, moved, quick = {}, {}, nil
-- What is read of a job besides what changes, what came with it and its trail. A claim reads args and progress instead.
local READ_ALSO = { 'e', 'x' }

local function limits(packed)
  local kept = cmsgpack.unpack(packed)
  ERRORS_KEPT, CHANGES_KEPT, NOTES_KEPT, FARTHEST = kept[1], kept[2], kept[3], kept[4]
end

local function job_key(id) return NS .. ':j:' .. id end
local function notes_key(id) return NS .. ':n:' .. id end
local function own_key(worker) return NS .. ':own:' .. worker end
local function run_key(queue) return NS .. ':run:' .. queue end
local function final(state) return state >= COMPLETED end
local function waits(state) return state < COMPLETED and state ~= RUNNING end

local function ready_key(queue, kind, quarantine)
  return NS .. (quarantine and ':x:' or ':r:') .. queue .. '/' .. kind
end

local hexes = {}
-- The digits of a worker, of which a script sees few.
local function hex(worker)
  local digits = hexes[worker]
  if not digits then
    digits = format('%08x%08x%08x%08x', unpack_('>I4I4I4I4', worker))
    hexes[worker] = digits
  end
  return digits
end

-- Names that follow from what came with a job: of lines, of running jobs, and of counts by state. Jobs that are alike share them.
local named = {}

local function names_of(b)
  local names = named[b]
  if not names then
    local queue, kind = b[QUEUE], b[KIND]
    names = { ready = ready_key(queue, kind, false), quarantine = ready_key(queue, kind, true), run = run_key(queue) }
    for state = BLOCKED, DISCARDED do names[state] = queue .. '/' .. kind .. '/' .. state end
    named[b] = names
  end
  return names
end

local function shaped(b)
  if type(b) ~= 'table' then return false end
  local texts = type(b[KIND]) == 'string' and type(b[QUEUE]) == 'string' and type(b[UNIQUE]) == 'string'
  return texts and type(b[PRIORITY]) == 'number' and type(b[TIMEOUT]) == 'number' and type(b[MODE]) == 'number'
end

-- What the sender of a settlement or a record shows of a job's fence: job, epoch and claim id stand first.
local function shown(packed, role)
  local fine, head = pcall(cmsgpack.unpack, packed or '')
  if fine and type(head) == 'table' and type(head[1]) == 'string' and type(head[2]) == 'number' and type(head[3]) == 'string' then
    return head
  end
  fail('ARGUMENT', role)
end

-- What changes of a job as it is stored; an error when that is something else. Only a number can be compared to one.
local function sound(packed)
  local s, most = cmsgpack.unpack(packed), math.huge
  local numbers = s[STATE] >= BLOCKED and s[STATE] <= DISCARDED and s[EPOCH] < most and s[ATTEMPT] < most and s[MOST] < most
    and s[SNOOZES] < most and s[CRASHES] < most and s[CANCELLING] < most and s[CREATED] < most and s[DUE] < most
    and s[STARTED] < most and s[FINISHED] < most and s[RANK] < most and s[CHANGES] < most and s[NOTES] < most
    and s[DEADLINE] < most and s[UNTIL] < most
  return numbers and type(s[WORKER]) == 'string' and type(s[CLAIM]) == 'string' and s
end

-- Bodies that were read, by what is stored: many jobs share one. False for one that can't be read.
local bodies = {}

local function body_of(raw)
  local b = bodies[raw]
  if b == nil then
    local fine, found = pcall(cmsgpack.unpack, raw)
    b = fine and shaped(found) and found
    bodies[raw] = b
  end
  return b
end

local function row_of(id, key)
  local row = rows[id]
  if not row then
    row = read('job', 'HMGET', key, 's', 'b', 't', READ_ALSO[1], READ_ALSO[2])
    rows[id] = row
  end
  return row
end

-- A stored job; nil when there is none, false when it can't be read.
local function load(id)
  local known = jobs[id]
  if known ~= nil then
    if known and known.removed then return nil end
    return known
  end
  local key = job_key(id)
  local row = row_of(id, key)
  if not row[1] and not row[2] then return nil end
  local fine, s = pcall(sound, row[1] or '')
  local b = body_of(row[2] or '')
  if not fine or not s or not b then
    jobs[id] = false
    return false
  end
  local job = { id = id, key = key, s = s, b = b, raw = row[2], trail = row[3] or '', set = false }
  job[READ_ALSO[1]], job[READ_ALSO[2]] = row[4], row[5]
  jobs[id] = job
  return job
end

-- Fields to be written besides what changes and the trail.
local function besides(job)
  if not job.set then job.set = {} end
  return job.set
end

-- What changes of a job, as it is stored.
local function standing(job)
  if not job.packed then job.packed = cmsgpack.pack(job.s) end
  return job.packed
end

local function touch(job)
  job.packed = nil
  if not job.dirty then
    job.dirty = true
    dirty[#dirty + 1] = job
    uses.HSET = job.key
  end
end

-- The fence: whether the job runs under this very key.
local function owned(job, epoch, claim)
  local s = job.s
  return s[STATE] == RUNNING and s[EPOCH] == epoch and s[CLAIM] == claim
end

-- A final job that carries this very fence was finished under it.
local function already(job, epoch, claim)
  local s = job.s
  return final(s[STATE]) and s[EPOCH] == epoch and s[CLAIM] == claim
end

local function quarantined(s) return s[CRASHES] >= 2 end

local function index(job, here)
  local s, b, id = job.s, job.b, job.id
  local state, names = s[STATE], names_of(b)
  if state == AVAILABLE then
    zset('ready', quarantined(s) and names.quarantine or names.ready, pack('>I8', s[RANK]) .. id, here and b[PRIORITY])
  elseif state == SCHEDULED or state == RETRYABLE then
    zset('due', NS .. ':due', id, here and s[DUE])
  elseif state == RUNNING then
    hash('own', own_key(s[WORKER]), id, here and pack('>I4', s[EPOCH]) .. s[CLAIM] .. (s[CANCELLING] == 1 and '1' or '0'))
    zset('running', names.run, id, here and s[STARTED])
    if s[DEADLINE] > 0 then zset('late', NS .. ':late', id, here and s[DEADLINE] + GRACE) end
  elseif final(state) then
    zset('finished', NS .. ':done:' .. state, id, here and s[FINISHED])
  end
  local n = here and 1 or -1
  add(counts, names[state], n)
  if waits(state) then add(depths, b[QUEUE], n) end
end

-- Open entries of the feed, by cause, and the number of the last entry that a job stands in.
local open, stands = {}, {}

local function entry_for(cause, id)
  local entry = open[cause]
  if entry and (entry.seq <= (stands[id] or 0) or #entry.facts >= TOGETHER) then entry = nil end
  if not entry then
    entry = { seq = next_seq(), cause = cause, facts = {}, errors = {}, names = { at = {} }, workers = { at = {} }, said = {} }
    open[cause] = entry
    entries[#entries + 1] = entry
  end
  stands[id] = entry.seq
  return entry
end

local function number(list, name)
  local known = list.at[name]
  if not known then
    known = #list
    list.at[name] = known
    list[known + 1] = '"' .. name .. '"'
  end
  return known
end

local function fact(job, from, cause, err, worker)
  local s, b = job.s, job.b
  local entry = entry_for(cause, job.id)
  local facts, by = entry.facts, worker and number(entry.workers, hex(worker)) or -1
  local kind, queue = number(entry.names, b[KIND]), number(entry.names, b[QUEUE])
  if err then entry.errors[#entry.errors + 1] = '[' .. #facts .. ',' .. err .. ']' end
  local one, two, three, four = unpack_('>I4I4I4I4', job.id)
  facts[#facts + 1] =
    format('["%08x%08x%08x%08x",%d,%d,%d,%d,%d,%d]', one, two, three, four, kind, queue, from, s[STATE], s[ATTEMPT], by)
  return entry
end

-- A change as the trail has it, but for a failure and the end. Jobs of one entry mostly change alike.
local function said(entry, from, s, cause, worker)
  local key = (s[ATTEMPT] * 8 + from + 1) * 8 + s[STATE]
  local text = entry.said[key]
  if not text or entry.claimer ~= worker then
    text = format('[%s,%s,%d,%d,%d,%d', int(entry.seq), int(now), from, s[STATE], s[ATTEMPT], cause)
    if cause == 3 then text = text .. ',"' .. hex(worker) .. '"' end
    entry.said, entry.claimer = { [key] = text }, worker
  end
  return text
end

-- An entry that belongs to one job: a note, a request to cancel.
local function single(job, body)
  local seq = next_seq()
  stands[job.id] = seq
  body = '{"kind":"' .. job.b[KIND] .. '","queue":"' .. job.b[QUEUE] .. '","body":' .. body .. '}'
  entries[#entries + 1] = { seq = seq, job = job.id, body = body }
  zset('notes', notes_key(job.id), int(seq) .. ' ' .. int(now) .. ' ' .. body, seq)
end

-- Cuts a trail to the first change and the last ones. The worker that claimed stands with its claim alone, so the first change kept must name it.
local function trim(job)
  local lines = {}
  for line in string.gmatch(job.trail, '[^\n]+') do lines[#lines + 1] = (string.gsub(line, ',$', '')) end
  local keep = math.max(CHANGES_KEPT, 2)
  local cut = #lines - keep + 2
  local claimer
  for n = cut - 1, 1, -1 do
    claimer = string.match(lines[n], '^%[%d+,%d+,%-?%d+,%d+,%d+,3,"(%x+)"')
    if claimer then break end
  end
  local head, cause, rest = string.match(lines[cut] or '', '^(%[%d+,%d+,%-?%d+,%d+,%d+,(%d+))(.*)$')
  if claimer and (cause == '4' or cause == '5') and not string.find(rest, '^,"') then
    lines[cut] = head .. ',"' .. claimer .. '"' .. string.gsub(rest, '^,null', '')
  end
  local kept = { lines[1] }
  for n = cut, #lines do kept[#kept + 1] = lines[n] end
  job.trail, job.s[CHANGES] = table.concat(kept, ',\n'), #kept
end

-- Takes over a job that is in no index: its place, its event, its change in the trail.
local function put(job, from, cause, err, worker)
  local s = job.s
  if s[STATE] == AVAILABLE then
    last_rank = last_rank + 1
    s[RANK] = last_rank
    hints[job.b[QUEUE]] = true
  end
  local change = said(fact(job, from, cause, err, worker), from, s, cause, worker)
  if err then change = change .. ',null,' .. err end
  job.trail = (job.trail == '' and '' or job.trail .. ',\n') .. change .. ']'
  s[CHANGES] = s[CHANGES] + 1
  if s[CHANGES] > math.max(CHANGES_KEPT, 2) then trim(job) end
  index(job, true)
  touch(job)
end

-- A time as JSON has it.
local function iso(micros)
  local seconds = math.floor(micros / 1000000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  -- Days to a date of the Gregorian calendar, counted from March of year 0.
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day, month = doy - math.floor((153 * mp + 2) / 5) + 1, mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, micros - seconds * 1000000)
end

-- A failure: the sender's part is its kind and message as JSON, without braces.
local function failure(attempt, part) return '{"attempt":' .. attempt .. ',"at":"' .. iso(now) .. '",' .. part .. '}' end

local function keep_error(job, err)
  local lines = {}
  for line in string.gmatch(job.e or '', '[^\n]+') do lines[#lines + 1] = (string.gsub(line, ',$', '')) end
  lines[#lines + 1] = err
  while #lines > ERRORS_KEPT do table.remove(lines, 1) end
  job.e = table.concat(lines, ',\n')
  besides(job).e = job.e
end
