-- settle: makes what is shown for a range of offsets equal to what the archive holds.
--
-- ARGV[3]  position
-- ARGV[4]  the watermark that the caller knows, '' for none
-- ARGV[5]  the watermark to be
-- ARGV[6]  deltas of the archive between them

local position, from, to = ARGV[3], ARGV[4], ARGV[5]
local watermark = redis.call('HGET', tag .. ':watermark', position)
if (watermark or '') ~= from then
  return {'found', watermark}
end
claim()

-- Where the archive's keys are shown: by name those that are settled by name already, and new ones
-- until they are max_distinct; the others in the overflow. What is pending does not matter, and none
-- of these names is ever given up. So it is promised, whatever was live:
--   * a counter shows by name the first max_distinct keys that were settled, or all if they are fewer;
--   * no key is settled partly by name and partly in the overflow: a key goes to the overflow only
--     when all names are taken for good.
-- Keys that are only pending keep the names they have until they are settled, wherever these are. Till
-- then there may be up to twice max_distinct fields, and a key may be pending by name and in the
-- overflow; each entry is taken out from where it was placed.
local function place(i, deltas)
  local shown, owners = tag .. ':' .. counters[i][1], tag .. ':settled:' .. counters[i][1]
  local keys, overflow = deltas[1], deltas[2]
  local room = counters[i][2] - redis.call('SCARD', owners)
  local named, new = {}, {}
  for k = 1, #keys, 2 do
    if redis.call('SISMEMBER', owners, keys[k]) == 1 then
      named[#named + 1] = keys[k]
      named[#named + 1] = keys[k + 1]
    else
      new[#new + 1] = k
      overflow = overflow + keys[k + 1]
    end
  end
  -- Of the new ones those first that are shown already: a reader sees no name change for another.
  for _, already in ipairs({1, 0}) do
    for _, k in ipairs(new) do
      if room > 0 and redis.call('HEXISTS', shown, keys[k]) == already then
        redis.call('SADD', owners, keys[k])
        room = room - 1
        named[#named + 1] = keys[k]
        named[#named + 1] = keys[k + 1]
        overflow = overflow - keys[k + 1]
      end
    end
  end
  return {named, overflow}
end

-- What has been shown for the range, or at least for the beginning of it: an entry that ends beyond
-- `to` stays pending, and is taken out by the settle that reaches its end. This comes before anything
-- is added: where Redis is full, it allows a script what follows a write that makes room.
local archived = cmsgpack.unpack(ARGV[6])
local pending = tag .. ':pending:' .. position
local entries = redis.call('ZRANGEBYSCORE', pending, '-inf', to)
redis.call('ZREMRANGEBYSCORE', pending, '-inf', to)
if redis.call('EXISTS', pending) == 0 then
  redis.call('SREM', tag .. ':pending', position)
end

-- Shown at once as the difference, so that a key that was pending and is archived keeps its field.
local change = {archived[1]}
for i = 1, #counters do
  change[1 + i] = place(i, archived[1 + i])
end
for _, member in ipairs(entries) do
  change = sum(change, cmsgpack.unpack(member)[4], -1)
end
show(change)
redis.call('HSET', tag .. ':watermark', position, to)
return {'done'}
