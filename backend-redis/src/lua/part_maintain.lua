-- What the passing of time does.

local function upto(role, key, time, limit)
  return read(role, 'ZRANGE', key, '-inf', int(time), 'BYSCORE', 'LIMIT', 0, limit)
end

-- How many jobs leave the head of those that are due.
local promoting = 0

local function promote(limit)
  local ids, promoted = upto('due', NS .. ':due', now, limit + 1), 0
  for n = 1, math.min(#ids, limit) do
    local job = load(ids[n])
    if job and (job.s[STATE] == SCHEDULED or job.s[STATE] == RETRYABLE) then
      apply(job, stays(job.s, AVAILABLE), 2)
      promoted = promoted + 1
    else
      aside('due', NS .. ':due', ids[n], ids[n])
    end
  end
  promoting = math.min(#ids, limit)
  return promoted, #ids > limit and 1 or 0
end

-- Micros until the next job is due after what was decided, or -1.
local function next_due()
  local key = NS .. ':due'
  local due = tonumber(read('due', 'ZRANGE', key, promoting, promoting, 'WITHSCORES')[2])
  for _, score in pairs(zsets[key] or {}) do
    if score and (not due or score < due) then due = score end
  end
  return due and math.max(due - now, 0) or -1
end

-- Jobs of a worker that is lost. They leave its hash in any case, so that no page is read twice.
local function rescue_own(worker, limit, pauses, rescued)
  local key = own_key(worker)
  local ids = limit > 0 and read('own', 'HRANDFIELD', key, limit) or {}
  for n = 1, #ids do
    local job = load(ids[n])
    if job and job.s[WORKER] == worker and rescue(job, true, pauses) then
      rescued[#rescued + 1] = ids[n]
    else
      hash('own', key, ids[n], false)
      if job == false then zset('jobs set aside', NS .. ':aside', ids[n], now) end
    end
  end
  return read('own', 'HLEN', key) - #ids
end

-- Workers looked at by one call.
local WORKERS = 64

local function rescue_lost(limit, pauses)
  local rescued, removed, more = {}, 0, 0
  local lost = upto('leases', NS .. ':leases', now, WORKERS + 1)
  for n = 1, math.min(#lost, WORKERS) do
    if rescue_own(lost[n], limit - #rescued, pauses, rescued) > 0 then
      more = 1
    else
      zset('leases', NS .. ':leases', lost[n], false)
      if read('workers', 'HEXISTS', NS .. ':workers', lost[n]) == 1 then
        hash('workers', NS .. ':workers', lost[n], false)
        removed = removed + 1
      end
    end
  end
  local room = limit - #rescued
  local late = upto('late', NS .. ':late', now, room + 1)
  for n = 1, math.min(#late, room) do
    local job = load(late[n])
    if job and rescue(job, not alive(job.s[WORKER]), pauses) then
      rescued[#rescued + 1] = late[n]
    else
      -- It was rescued above, or can't be read.
      aside('late', NS .. ':late', late[n], late[n])
    end
  end
  if #lost > WORKERS or #late > room then more = 1 end
  return rescued, removed, more
end

local function free_windows(limit)
  local keys = upto('windows', NS .. ':windows', now, limit + 1)
  for n = 1, math.min(#keys, limit) do
    local holder, mode, till = holding(keys[n])
    if holder and mode == HELD_WINDOW and till <= now then hold(keys[n], false) end
    zset('windows', NS .. ':windows', keys[n], false)
  end
  return math.min(#keys, limit), #keys > limit and 1 or 0
end
