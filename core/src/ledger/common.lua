-- What live.lua and settle.lua have in common; it is put before each of them.
--
-- KEYS[1]  the stream's hash tag, "{weather}". It is no key itself: every key begins with it.
-- ARGV[1]  fingerprint of the declaration of the counters
-- ARGV[2]  the counters: {{name, max_distinct}, …}
--
-- Deltas are {events, {{key, n, key, n, …}, overflow}, …}, with one pair for each counter.
-- Numbers stay below 2^53, where Lua's doubles are exact.

local tag = KEYS[1]

local found = redis.call('HGET', tag .. ':meta', 'counters')
if found and found ~= ARGV[1] then
  return {'fingerprint', found}
end

local counters = cmsgpack.unpack(ARGV[2])

-- Every script calls this before it writes anything else. Where Redis is full it fails here, with
-- nothing done.
local function claim()
  if not found then
    redis.call('HSET', tag .. ':meta', 'counters', ARGV[1])
  end
end

-- No field stays at zero: HLEN is how many keys a counter shows, and one at zero would take the room
-- of a key that counts.
local function add(key, field, n)
  if n ~= 0 and redis.call('HINCRBY', key, field, n) == 0 then
    redis.call('HDEL', key, field)
  end
end

-- Adds to the shown hashes what has been placed.
local function show(placed)
  add(tag .. ':total', 'events', placed[1])
  for i, counter in ipairs(counters) do
    local keys = placed[1 + i][1]
    for k = 1, #keys, 2 do
      add(tag .. ':' .. counter[1], keys[k], keys[k + 1])
    end
    add(tag .. ':overflow', counter[1], placed[1 + i][2])
  end
end

-- The sum of two placed deltas, the second taken `times` times.
local function sum(a, b, times)
  local total = {a[1] + times * b[1]}
  for i = 1, #counters do
    local keys, at = {}, {}
    for _, part in ipairs({{a, 1}, {b, times}}) do
      local of = part[1][1 + i][1]
      for k = 1, #of, 2 do
        local here = at[of[k]]
        if not here then
          here = #keys + 2
          at[of[k]], keys[here - 1], keys[here] = here, of[k], 0
        end
        keys[here] = keys[here] + part[2] * of[k + 1]
      end
    end
    total[1 + i] = {keys, a[1 + i][2] + times * b[1 + i][2]}
  end
  return total
end

