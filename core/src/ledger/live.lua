-- live: shows the deltas of one frame at once, and keeps them pending until the consumer settles.
--
-- ARGV[3]  the gateway's run
-- ARGV[4]  number of the frame in the run
-- ARGV[5]  entries that a position may have pending
-- ARGV[6…] {position, first, last, deltas}

local run = tag .. ':run:' .. ARGV[3]
local seen = redis.call('GET', run)
if seen and tonumber(ARGV[4]) <= tonumber(seen) then
  return {'repeated'}
end
claim()
redis.call('SET', run, ARGV[4], 'EX', 86400)

-- An entry that others were merged into names at most so many keys of a counter; what comes beyond counts
-- as overflow until it is settled. Merging has to read and write the whole entry.
local MERGED_MAX = 1000

-- Where the keys of a counter's deltas are shown until they are settled: those that have a field, and
-- as many new ones as there is room for, by name; the others in the overflow. Settled keys may have
-- taken names beyond the room that pending ones had left: then those get no more by theirs, so that
-- they go away as what is pending is settled.
local function place(i, deltas)
  local shown = tag .. ':' .. counters[i][1]
  local keys, overflow = deltas[1], deltas[2]
  local room = counters[i][2] - redis.call('HLEN', shown)
  if #keys / 2 <= room then
    return deltas
  end
  local owners = room < 0 and tag .. ':settled:' .. counters[i][1]
  local named = {}
  for k = 1, #keys, 2 do
    local there
    if owners then
      there = redis.call('SISMEMBER', owners, keys[k]) == 1
    else
      there = redis.call('HEXISTS', shown, keys[k]) == 1
    end
    if not there and room > 0 then
      there, room = true, room - 1
    end
    if there then
      named[#named + 1] = keys[k]
      named[#named + 1] = keys[k + 1]
    else
      overflow = overflow + keys[k + 1]
    end
  end
  return {named, overflow}
end

local function show_placed(placed)
  local named, overflow = {}, {}
  for i = 1, #counters do
    named[i], overflow[i] = {}, placed[1 + i][2]
    sum(named[i], placed[1 + i][1], 1)
  end
  show(placed[1], named, overflow)
end

-- Adds `placed` to the entry `newest`, and moves to the overflow of `placed` what that has no room for.
local function merge(newest, placed)
  newest[1] = newest[1] + placed[1]
  for i = 1, #counters do
    local into, from = newest[1 + i], placed[1 + i]
    local keys, at = into[1], {}
    for k = 1, #keys, 2 do
      at[keys[k]] = k + 1
    end
    local named = {}
    for k = 1, #from[1], 2 do
      local key, n = from[1][k], from[1][k + 1]
      local here = at[key]
      if here then
        keys[here] = keys[here] + n
      elseif #keys < 2 * MERGED_MAX then
        keys[#keys + 1] = key
        keys[#keys + 1] = n
        at[key] = #keys
      else
        from[2] = from[2] + n
      end
      if at[key] then
        named[#named + 1] = key
        named[#named + 1] = n
      end
    end
    from[1] = named
    into[2] = into[2] + from[2]
  end
end

local pending_max = tonumber(ARGV[5])
local added, merged, settled = 0, 0, 0
for index = 6, #ARGV do
  local position, first, last, deltas = unpack(cmsgpack.unpack(ARGV[index]))
  local watermark = tonumber(redis.call('HGET', tag .. ':watermark', position) or nil)
  if watermark and first <= watermark then
    -- Some of it is settled, and nobody can tell which part: settle counts all of it from the archive.
    settled = settled + 1
  else
    local placed = {deltas[1]}
    for i = 1, #counters do
      placed[1 + i] = place(i, deltas[1 + i])
    end
    local pending = entries_of(position)
    if redis.call('ZCARD', pending) < math.max(pending_max, 1) then
      -- NX: what is pending already, byte for byte, is shown already.
      local member = cmsgpack.pack({ARGV[3], ARGV[4], index, placed})
      if redis.call('ZADD', pending, 'NX', last, member) == 1 then
        show_placed(placed)
        count_entries(position, 1)
        added = added + 1
      end
    else
      local member, score = unpack(redis.call('ZREVRANGE', pending, 0, 0, 'WITHSCORES'))
      local newest = cmsgpack.unpack(member)
      merge(newest[4], placed)
      redis.call('ZREM', pending, member)
      redis.call('ZADD', pending, math.max(tonumber(score), last), cmsgpack.pack(newest))
      show_placed(placed)
      merged = merged + 1
    end
  end
end
save()
return {'applied', added, merged, settled}
