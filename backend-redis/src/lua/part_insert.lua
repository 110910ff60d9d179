-- Insertion: first what becomes of each job, without a change, then the changes, which can't fail.
-- A job comes in three values: its head (a msgpack array: id, 1 when its start is a time and 0 when it is a delay, the start, most attempts,
-- rule on a conflict, window), its body and its args.
local NEW, read_new, plan, insert_all
do
  local KEEP, REPLACE, REJECT = 0, 1, 2
  NEW = 0
  local DUPLICATE, REPLACED, REJECTED = 1, 2, 3

  -- Whether a job is what a sender of this layout sends: nothing else may come into a line.
  local function fits(head, b)
    if type(head) ~= 'table' or type(head[1]) ~= 'string' or #head[1] ~= 16 or not shaped(b) then return false end
    for n = 2, 6 do
      if type(head[n]) ~= 'number' then return false end
    end
    return b[TAGS] == nil or type(b[TAGS]) == 'table'
  end

  function read_new(from, count)
    local new = {}
    for n = 1, count do
      local at = from + (n - 1) * 3
      local raw = ARGV[at + 1]
      local fine, head = pcall(cmsgpack.unpack, ARGV[at] or '')
      local also, b = pcall(cmsgpack.unpack, raw or '')
      if not fine or not also or not fits(head, b) or not ARGV[at + 2] then fail('ARGUMENT', 'new job') end
      local delay = head[3]
      if head[2] == 1 then delay = math.max(delay - now, 0) end
      new[n] = { id = head[1], delay = delay, most = head[4], rule = head[5], window = head[6], raw = raw,
        b = b, args = ARGV[at + 2] }
    end
    return new
  end

  -- The maximum depth of a queue and how many of its jobs wait.
  local function room(queue)
    local kept = read('queues', 'HGET', NS .. ':queues', queue)
    local depth = kept and cmsgpack.unpack(kept)[3] or ''
    if depth == '' then return nil end
    local waiting = tonumber(read('depths', 'HGET', NS .. ':depth', queue) or 0) + (depths[queue] or 0)
    return depth, waiting
  end

  -- What becomes of each job; or nil, why, and what it is about. A holder that is lost is rescued for it, so whoever gives up because of a full queue
  -- must write nothing.
  -- finishing: a job that finishes in the same step; a key it holds until then is free, and no queue is too full.
  function plan(new, finishing)
    local answers, taken, queues, growth = {}, {}, {}, {}

    local function stand(id, queue)
      queues[id] = queue
      add(growth, queue, 1)
    end

    -- The queue in which a job waits.
    local function waits_in(id)
      if queues[id] then return queues[id] end
      local job = load(id)
      if job and waits(job.s[STATE]) then return job.b[QUEUE] end
    end

    local function one(job)
      if queues[job.id] or call('EXISTS', job_key(job.id)) == 1 then return { DUPLICATE, job.id } end
      local key = job.b[UNIQUE]
      if key ~= '' then
        local existing = taken[key] or holder_of(key, finishing)
        if existing then
          if job.rule == REJECT then return { REJECTED, existing } end
          local queue = job.rule == REPLACE and waits_in(existing)
          if not queue then return { DUPLICATE, existing } end
          add(growth, queue, -1)
          stand(existing, job.b[QUEUE])
          return { REPLACED, existing }
        end
        taken[key] = job.id
      end
      stand(job.id, job.b[QUEUE])
      return { NEW, job.id }
    end

    -- Of all first: a settlement whose follow-ups are refused rescues nobody, and others may stand in its script.
    for n = 1, #new do
      local seconds = math.floor(new[n].delay / 1000000)
      if seconds > FARTHEST then return nil, 'delay', math.min(seconds, LAST) end
    end
    for n = 1, #new do answers[n] = one(new[n]) end
    if not finishing then
      for queue, n in pairs(growth) do
        local depth, waiting = room(queue)
        if n > 0 and depth and waiting + n > tonumber(depth) then return nil, 'full', queue, depth end
      end
    end
    return answers
  end

  local function fill(job, new)
    local s = job.s
    job.b = new.b
    besides(job).b, besides(job).a = new.raw, new.args
    if s[STATE] ~= BLOCKED then s[STATE] = new.delay == 0 and AVAILABLE or SCHEDULED end
    s[DUE], s[MOST] = after(new.delay), new.most
    refer(new.b[BLOBS], 1)
  end

  local function insert_one(new)
    local s = { AVAILABLE, 0, 0, 0, 0, 0, 0, now, now, 0, 0, '', '', 0, 0, 0, 0, 0 }
    local job = { id = new.id, key = job_key(new.id), s = s, trail = '', set = false }
    jobs[new.id] = job
    local key, mode = new.b[UNIQUE], new.b[MODE]
    if key ~= '' then
      if mode == HELD_WINDOW then s[UNTIL] = after(new.window) end
      take_key(key, new.id, mode, s[UNTIL])
    end
    fill(job, new)
    zset('ids', NS .. ':ids', new.id, 0)
    put(job, -1, 0)
  end

  -- The holder keeps its id, its key and its attempts so far.
  local function replace_one(id, new)
    local job = load(id)
    local from = job.s[STATE]
    index(job, false)
    refer(job.b[BLOBS], -1)
    new.b[UNIQUE], new.b[MODE] = job.b[UNIQUE], job.b[MODE]
    new.raw = cmsgpack.pack(new.b)
    fill(job, new)
    put(job, from, 1)
  end

  function insert_all(new, answers)
    for n = 1, #new do
      local code, id = answers[n][1], answers[n][2]
      if code == NEW then
        insert_one(new[n])
      elseif code == REPLACED then
        replace_one(id, new[n])
      end
    end
  end
end
