-- What all scripts of a ledger have in common; it is put before each of them.
--
-- KEYS[1]  the stream's hash tag, "{weather}". It is no key itself: every key begins with it.
-- ARGV[1]  fingerprint of the declaration of the counters
-- ARGV[2]  the counters: {{name, max_distinct}, …}
--
-- Deltas are {events, {{key, n, key, n, …}, overflow}, …}, with one pair for each counter.
-- Numbers stay below 2^53, where Lua's doubles are exact.

local tag = KEYS[1]

-- `meta` says what the other keys must hold, so that a part that somebody else has deleted, or that
-- was evicted, is noticed. Each script writes what it has changed of it at its end.
local FORMAT = '2'
local meta, changed = {}, {}
local fields = redis.call('HGETALL', tag .. ':meta')
for i = 1, #fields, 2 do
  meta[fields[i]] = fields[i + 1]
end
if meta.counters and meta.counters ~= ARGV[1] then
  return {'fingerprint', meta.counters}
end

local counters = cmsgpack.unpack(ARGV[2])

-- Every script calls this before it writes anything else. Where Redis is full it fails here, with
-- nothing done. A ledger begins where there is none; a `meta` beside keys that it knows nothing of has
-- no format, which is a damage.
local function claim()
  if meta.counters then
    return
  end
  meta.counters = ARGV[1]
  local others = redis.call('EXISTS', tag .. ':total', tag .. ':watermark', tag .. ':pending')
  if others == 0 then
    meta.format = FORMAT
    redis.call('HSET', tag .. ':meta', 'counters', ARGV[1], 'format', FORMAT)
  else
    redis.call('HSET', tag .. ':meta', 'counters', ARGV[1])
  end
end

local function raise(field, n)
  if n ~= 0 then
    meta[field] = (tonumber(meta[field]) or 0) + n
    changed[field] = true
  end
end

local function save()
  raise('changes', 1)
  local values = {}
  for field in pairs(changed) do
    values[#values + 1] = field
    values[#values + 1] = string.format('%.0f', meta[field])
  end
  redis.call('HSET', tag .. ':meta', unpack(values))
end

-- A hash's checksum is the sum of value times weight over its fields, modulo 2^31 - 1. `check.rs` has the
-- same rule.
local MODULUS = 2147483647

local function weight(key)
  local length = #key
  if length == 0 then
    return 1
  end
  local first, middle, last = string.byte(key, 1), string.byte(key, math.floor((length + 1) / 2)), string.byte(key, length)
  return 1 + length % 1024 + 3 * first + 31 * middle + 7 * last
end

local function checked(field, key, n)
  local sum = tonumber(meta[field]) or 0
  meta[field] = (sum + n % MODULUS * weight(key)) % MODULUS
  changed[field] = true
end

-- No field stays at zero: HLEN is how many keys a counter shows, and one at zero would take the room
-- of a key that counts. Returns how many fields there are more.
local function add(key, field, n)
  if n == 0 then
    return 0
  end
  local now = redis.call('HINCRBY', key, field, n)
  if now == 0 then
    redis.call('HDEL', key, field)
    return -1
  end
  return now == n and 1 or 0
end

-- Adds to what is shown: events, and for each counter what is added to each key, and to the overflow.
local function show(events, named, overflow)
  add(tag .. ':total', 'events', events)
  raise('events', events)
  for i, counter in ipairs(counters) do
    local shown, check, fields = tag .. ':' .. counter[1], 'check:' .. counter[1], 0
    for key, n in pairs(named[i]) do
      if n ~= 0 then
        fields = fields + add(shown, key, n)
        checked(check, key, n)
      end
    end
    raise('fields:' .. counter[1], fields)
    if overflow[i] ~= 0 then
      add(tag .. ':overflow', counter[1], overflow[i])
      checked('check:overflow', counter[1], overflow[i])
    end
  end
end

-- Adds {key, n, key, n, …}, taken `times` times, to a table. Returns how many keys are new to it.
local function sum(named, keys, times)
  local new = 0
  for k = 1, #keys, 2 do
    local there = named[keys[k]]
    if not there then
      there, new = 0, new + 1
    end
    named[keys[k]] = there + times * keys[k + 1]
  end
  return new
end

local function entries_of(position)
  return tag .. ':pending:' .. position
end

-- Entries of a position that were added or taken out.
local function count_entries(position, n)
  if n ~= 0 then
    raise('pending', add(tag .. ':pending', position, n))
  end
end

-- Whether a position has as many entries as were counted.
local function entries_differ(position)
  local counted = tonumber(redis.call('HGET', tag .. ':pending', position) or 0)
  return redis.call('ZCARD', entries_of(position)) ~= counted
end

-- The part of the ledger that is not as it was left, or nil; in constant time.
local function damage()
  if not meta.counters then
    local others = redis.call('EXISTS', tag .. ':total', tag .. ':watermark', tag .. ':pending')
    return others > 0 and 'meta' or nil
  end
  if meta.format ~= FORMAT then
    return 'meta'
  end
  local function differs(field, is)
    return (tonumber(meta[field]) or 0) ~= is
  end
  if differs('positions', redis.call('HLEN', tag .. ':watermark')) then
    return 'watermark'
  end
  if differs('positions', redis.call('HLEN', tag .. ':settled')) then
    return 'settled'
  end
  if differs('pending', redis.call('HLEN', tag .. ':pending')) then
    return 'pending'
  end
  if differs('events', tonumber(redis.call('HGET', tag .. ':total', 'events') or 0)) then
    return 'total'
  end
  local overflow, all = 0, redis.call('HGETALL', tag .. ':overflow')
  for i = 1, #all, 2 do
    overflow = (overflow + all[i + 1] % MODULUS * weight(all[i])) % MODULUS
  end
  if differs('check:overflow', overflow) then
    return 'overflow'
  end
  for _, counter in ipairs(counters) do
    local name = counter[1]
    if differs('fields:' .. name, redis.call('HLEN', tag .. ':' .. name)) then
      return name
    end
    if differs('owners:' .. name, redis.call('SCARD', tag .. ':settled:' .. name)) then
      return 'settled:' .. name
    end
  end
end

