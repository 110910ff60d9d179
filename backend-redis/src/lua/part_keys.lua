-- Unique keys, and the account of blobs.
-- A key's value is the mode, the holder and, for a window, its end: all that decides whether it is held.
local held = {}

local function holding(key)
  if held[key] == nil then
    local value = read('unique keys', 'HGET', NS .. ':unique', key)
    held[key] = value and #value == 25 and value or false
  end
  local value = held[key]
  if not value then return nil end
  local mode, holder, till = unpack_('>Bc16I8', value)
  return holder, mode, till
end

local function hold(key, value)
  held[key] = value
  hash('unique keys', NS .. ':unique', key, value)
end

local function free_key(key, id)
  local holder, mode = holding(key)
  if holder ~= id then return end
  hold(key, false)
  if mode == HELD_WINDOW then zset('windows', NS .. ':windows', key, false) end
end

local function take_key(key, id, mode, till)
  hold(key, pack('>Bc16I8', mode, id, till))
  zset('windows', NS .. ':windows', key, mode == HELD_WINDOW and till)
end

-- Frees a job's key where a step ends its time: 'started', 'finished' (or pruned) or 'deleted'.
local function end_key(job, how)
  local key, mode = job.b[UNIQUE], job.b[MODE]
  if key == '' then return end
  local frees = mode == HELD_STARTED or (mode == HELD_FINISHED and how ~= 'started') or how == 'deleted'
  if frees then free_key(key, job.id) end
end

-- How many jobs more or less refer to a blob after this script.
local references, referred = {}, 0
-- References that are settled by one script that takes jobs one after the other; the last one it takes may bring more.
local REFERENCES = 400

local function refer(keys, n)
  for _, key in ipairs(keys or {}) do add(references, key, n) end
  referred = referred + #(keys or {})
end

local function settle_references()
  for key, n in pairs(references) do
    local count = tonumber(read('references', 'HGET', NS .. ':refs', key) or 0)
    local left = math.max(count + n, 0)
    if n ~= 0 then hash('references', NS .. ':refs', key, left > 0 and left) end
    -- What came and went in this step has gone as well, be it that it was staged.
    if left > 0 or n == 0 then
      zset('staged blobs', NS .. ':staged', key, false)
      zset('doomed blobs', NS .. ':doomed', key, false)
    end
    if left == 0 and (count > 0 or n == 0) then zset('doomed blobs', NS .. ':doomed', key, now) end
  end
end

-- Makes of a job what the state machine said.
-- to: state, due_in or nil, attempt, most, snoozes, crashes, cancelling, bump (the epoch grows).
-- by: who stands in the history; worker and claim: who stands on the job afterwards, or nil.
local function apply(job, to, cause, err, by, worker, claim)
  local s, b = job.s, job.b
  local from = s[STATE]
  index(job, false)
  if to.state == RUNNING then
    end_key(job, 'started')
  elseif final(to.state) then
    end_key(job, 'finished')
  end
  s[STATE], s[ATTEMPT], s[MOST], s[SNOOZES], s[CRASHES] = to.state, to.attempt, to.most, to.snoozes, to.crashes
  s[CANCELLING] = to.cancelling
  if to.bump then s[EPOCH] = math.min(s[EPOCH] + 1, 4294967295) end
  if to.due_in then s[DUE] = after(to.due_in) end
  s[FINISHED] = final(to.state) and now or 0
  s[DEADLINE] = 0
  if to.state == RUNNING then
    s[STARTED] = now
    if b[TIMEOUT] > 0 then s[DEADLINE] = after(b[TIMEOUT]) end
  end
  s[WORKER], s[CLAIM] = worker or '', claim or ''
  -- A final job that runs again takes its key again.
  if final(from) and b[UNIQUE] ~= '' and b[MODE] ~= HELD_WINDOW then take_key(b[UNIQUE], job.id, b[MODE], 0) end
  put(job, from, cause, err, by)
end

-- Removes a job with its history; its blobs go unless another job refers to them.
local function remove(job, how)
  index(job, false)
  refer(job.b[BLOBS], -1)
  if job.x then refer(cmsgpack.unpack(job.x), -1) end
  end_key(job, how)
  zset('ids', NS .. ':ids', job.id, false)
  gone[#gone + 1] = job.key
  local notes = notes_key(job.id)
  if read('notes', 'EXISTS', notes) == 1 then gone[#gone + 1] = notes end
  job.removed = true
end

-- A job that can't be read is in nobody's way: it leaves the index, and `get` says what is wrong with it.
local function aside(role, key, member, id)
  zset(role, key, member, false)
  if jobs[id] == false then zset('jobs set aside', NS .. ':aside', id, now) end
end

local FIELDS = { 'b', 'a', 'e', 'p', 'r', 'x' }

local function write_job(job)
  local fields = job.set
  if not fields then
    call('HSET', job.key, 's', standing(job), 't', job.trail)
    return
  end
  local values = { 's', standing(job), 't', job.trail }
  for n = 1, #FIELDS do
    local field = FIELDS[n]
    if fields[field] then
      values[#values + 1] = field
      values[#values + 1] = fields[field]
    end
  end
  call('HSET', job.key, unpack(values))
  if fields.no_result then call('HDEL', job.key, 'r', 'x') end
end

-- The entry of the jobs that went the short way: runs of jobs that changed alike, and the ids of all. What it says of counts is the same for a whole run.
local function close_quick()
  local runs = {}
  for n = 1, #quick.runs do
    local run = quick.runs[n]
    local way, b = run.way, run.way.b
    add(counts, way.names[way.from], -run.jobs)
    add(counts, way.names[way.to], run.jobs)
    if waits(way.from) then add(depths, b[QUEUE], -run.jobs) end
    runs[n] = format('[%d,%d,%d,%d,%d,%d,%d]', run.jobs, number(quick.names, b[KIND]), number(quick.names, b[QUEUE]), way.from, way.to,
      way.attempt, number(quick.workers, hex(run.worker)))
  end
  uses.HSET = job_key(moved[1])
  entries[#entries + 1] = quick
  quick.ids = table.concat(moved)
  quick.body = '{"c":' .. quick.cause .. ',"n":[' .. table.concat(quick.names, ',') .. '],"w":[' .. table.concat(quick.workers, ',') .. '],"r":['
    .. table.concat(runs, ',') .. ']}'
end

-- Bodies of the entries of the feed.
local function close_entries()
  for n = 1, #entries do
    local entry = entries[n]
    if entry.facts then
      entry.body = '{"c":' .. entry.cause .. ',"n":[' .. table.concat(entry.names, ',') .. '],"w":['
        .. table.concat(entry.workers, ',') .. '],"j":[' .. table.concat(entry.facts, ',') .. '],"e":['
        .. table.concat(entry.errors, ',') .. ']}'
    end
  end
end

-- Writes everything that was decided.
local function flush()
  if #moved > 0 then close_quick() end
  settle_references()
  settle_counts('counts', NS .. ':counts', counts)
  settle_counts('depths', NS .. ':depth', depths)
  close_entries()
  check_keys()
  for n = 1, #moved do
    local row = rows[moved[n]]
    call('HSET', job_key(moved[n]), 's', row[1], 't', row[3])
  end
  for n = 1, #dirty do
    local job = dirty[n]
    if not job.removed then write_job(job) end
  end
  write_all()
end
