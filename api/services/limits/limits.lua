-- Counts for all processes what routing/domain/limits.py counts for one. Runs a list of
-- operations as one atomic step.
--
-- KEYS     every key that an operation names, by its place in this list
-- ARGV[1]  the operations, as JSON:
--            ["acquire", lease, keys, measures, limits]   all of them, or none
--            ["settle", tokens, keys]                      add to windows of tokens
--            ["release", lease, keys]                      give slots back
--            ["renew", lease, keys]                        keep slots
-- ARGV[2]  how long a slot is kept without being renewed, in microseconds
-- ARGV[3]  the time in microseconds, or "" for this server's own clock
--
-- Returns JSON: for each "acquire" [1 or 0, used, wait, reset, used, wait, reset, ...].
--
-- A window is a list of "time before amount": when, how much was counted before it since
-- the list began, how much it adds. What is used is then the difference of two entries,
-- and no second key can disagree with the list.

local WINDOW, TICK, EXACT_ENTRIES, SLOT_WAIT = 60000000, 60000, 1000, 1000000

local slot_life = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function entry(key, place)
  local text = redis.call('LINDEX', key, place)
  if not text then
    return nil
  end
  local time, before, amount = string.match(text, '^(%d+) (%d+) (%d+)$')
  return tonumber(time), tonumber(before), tonumber(amount)
end

local function open_window(key)
  local time, before, amount = entry(key, -1)
  if not time then
    return {key = key, now = now, used = 0, total = 0}
  end
  -- The server's clock was set back: this window's time stands still until it has caught
  -- up. Set back by more than a window, it would stand for too long: start anew.
  local at = math.max(now, time)
  if time <= at - WINDOW or time > now + WINDOW then
    redis.call('DEL', key)
    return {key = key, now = now, used = 0, total = 0}
  end
  local first, forgotten = entry(key, 0)
  while first <= at - WINDOW do
    redis.call('LPOP', key)
    first, forgotten = entry(key, 0)
  end
  local total = before + amount
  return {
    key = key, now = at, used = total - forgotten, total = total,
    last = time, last_before = before, last_amount = amount,
  }
end

local function add(window, amount, is_exact)
  local time, before, place = window.now, window.total, nil
  if window.last and not is_exact and math.floor(window.last / TICK) == math.floor(time / TICK) then
    before, amount, place = window.last_before, window.last_amount + amount, -1
  end
  local text = string.format('%.0f %.0f %.0f', time, before, amount)
  if place then
    redis.call('LSET', window.key, place, text)
  else
    redis.call('RPUSH', window.key, text)
  end
  redis.call('PEXPIRE', window.key, 2 * WINDOW / 1000)
end

local function wait_of(window, limit)
  if window.used < limit then
    return 0
  end
  if limit <= 0 then
    return WINDOW
  end
  -- The first entry after whose end less than the limit is used.
  local low, high = 0, redis.call('LLEN', window.key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local _, before, amount = entry(window.key, middle)
    if window.total - before - amount < limit then
      high = middle
    else
      low = middle + 1
    end
  end
  return entry(window.key, low) + WINDOW - now
end

local function count_slots(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
  return redis.call('ZCARD', key)
end

local function hold_slot(key, lease)
  redis.call('ZADD', key, string.format('%.0f', now + slot_life), lease)
  redis.call('PEXPIRE', key, math.ceil(slot_life / 1000))
end

local function acquire(lease, keys, measures, limits)
  local is_admitted = 1
  local used, wait, reset, windows = {}, {}, {}, {}
  for i, measure in ipairs(measures) do
    local key, limit = KEYS[keys[i]], limits[i]
    if measure == 'concurrent' then
      used[i], reset[i] = count_slots(key), 0
      wait[i] = used[i] >= limit and SLOT_WAIT or 0
    else
      local window = open_window(key)
      windows[i], used[i], wait[i] = window, window.used, wait_of(window, limit)
      reset[i] = window.last and window.last + WINDOW - now or 0
    end
    if wait[i] > 0 then
      is_admitted = 0
    end
  end
  if is_admitted == 1 then
    for i, measure in ipairs(measures) do
      if measure == 'concurrent' then
        hold_slot(KEYS[keys[i]], lease)
        used[i] = used[i] + 1
      elseif measure == 'requests' then
        add(windows[i], 1, limits[i] <= EXACT_ENTRIES)
        used[i], reset[i] = used[i] + 1, windows[i].now + WINDOW - now
        wait[i] = 0
      end
    end
  end
  local report = {is_admitted}
  for i = 1, #measures do
    report[#report + 1] = used[i]
    report[#report + 1] = wait[i]
    report[#report + 1] = reset[i]
  end
  return report
end

local reports = {}
for _, operation in ipairs(cjson.decode(ARGV[1])) do
  local name, subject, keys = operation[1], operation[2], operation[3]
  if name == 'acquire' then
    reports[#reports + 1] = acquire(subject, keys, operation[4], operation[5])
  else
    for _, place in ipairs(keys) do
      local key = KEYS[place]
      if name == 'settle' then
        add(open_window(key), subject, false)
      elseif name == 'release' then
        redis.call('ZREM', key, subject)
      elseif name == 'renew' then
        hold_slot(key, subject)
      end
    end
  end
end
return cjson.encode(reports)
