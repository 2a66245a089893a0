-- What all processes know of circuits that are not closed.
--
-- KEYS[1]  the set of circuits; each has a key of its own below it, "<set>:<circuit>",
--          and one more while its probe is under way, "<set>:<circuit>:probe"
-- ARGV[1]  what is new, as a JSON list of
--            ["rest", circuit, milliseconds left, value, milliseconds of its probe left,
--             1 to cut an earlier rest short]
--            ["close", circuit]
-- ARGV[2]  how long a circuit is known beyond its rest, in milliseconds
-- ARGV[3]  1 to be told what is known
--
-- Returns "" where nobody asked, else JSON: [circuit, milliseconds left (negative: over),
-- value, milliseconds of its probe left] for each. Time is that of keys expiring here: no
-- process compares clocks.

local index, beyond = KEYS[1], tonumber(ARGV[2])

for _, change in ipairs(cjson.decode(ARGV[1])) do
  local key = index .. ':' .. change[2]
  if change[1] == 'rest' then
    local life = change[3] + beyond
    -- Of two rests that began at once, the longer one stands.
    if life > 0 and (change[6] == 1 or redis.call('PTTL', key) < life) then
      redis.call('SET', key, change[4], 'PX', life)
      redis.call('SADD', index, change[2])
    end
    if change[5] > 0 then
      redis.call('SET', key .. ':probe', '', 'PX', change[5])
    else
      redis.call('DEL', key .. ':probe')
    end
  else
    redis.call('DEL', key, key .. ':probe')
    redis.call('SREM', index, change[2])
  end
end

if ARGV[3] ~= '1' then
  return ''
end

local known = {}
for _, circuit in ipairs(redis.call('SMEMBERS', index)) do
  local key = index .. ':' .. circuit
  local value = redis.call('GET', key)
  if value then
    local probe = math.max(redis.call('PTTL', key .. ':probe'), 0)
    known[#known + 1] = {circuit, redis.call('PTTL', key) - beyond, value, probe}
  else
    redis.call('SREM', index, circuit)
  end
end
if #known == 0 then
  return '[]'
end
return cjson.encode(known)
