-- settle: makes what is shown for a range of offsets equal to what the archive holds.
--
-- ARGV[3]  position
-- ARGV[4]  the watermark that the caller knows, '' for none
-- ARGV[5]  the watermark to be
-- ARGV[6]  deltas of the archive between them
-- ARGV[7]  what is counted: the archive's origin, '' for any
--
-- One call is bounded: where more is pending than KEYS_MAX different keys, or VISITS_MAX of any, it changes
-- nothing and says how far the watermark may go in one step.

local KEYS_MAX, VISITS_MAX = 1000, 10000

local position, from, to, origin = ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local part = damage()
if part then
  return {'damaged', part}
end
if meta.recount then
  return {'damaged', 'recount'}
end
if origin ~= '' and meta.origin and meta.origin ~= origin then
  return {'origin', meta.origin}
end
if entries_differ(position) then
  return {'damaged', 'pending:' .. position}
end
local watermark = redis.call('HGET', tag .. ':watermark', position)
if (watermark or '') ~= from then
  return {'found', watermark}
end
local pending = entries_of(position)

-- What has been shown for the range, or at least for the beginning of it: an entry that ends beyond
-- `to` stays pending, and is taken out by the settle that reaches its end.
local archived = cmsgpack.unpack(ARGV[6])
local events, named, overflow = archived[1], {}, {}
for i = 1, #counters do
  named[i], overflow[i] = {}, 0
end
local visits, different, done, last = 0, 0, 0, nil
while true do
  local page = redis.call('ZRANGEBYSCORE', pending, '-inf', to, 'WITHSCORES', 'LIMIT', done, 64)
  for e = 1, #page, 2 do
    if (visits >= VISITS_MAX or different >= KEYS_MAX) and page[e + 1] ~= last then
      return {'step', last}
    end
    local placed = cmsgpack.unpack(page[e])[4]
    events = events - placed[1]
    for i = 1, #counters do
      local keys = placed[1 + i][1]
      different = different + sum(named[i], keys, -1)
      overflow[i] = overflow[i] - placed[1 + i][2]
      visits = visits + #keys / 2
    end
    visits, last = visits + 1, page[e + 1]
  end
  done = done + #page / 2
  if #page < 128 then
    break
  end
end

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
  local keys = deltas[1]
  local room = counters[i][2] - redis.call('SCARD', owners)
  local new = {}
  overflow[i] = overflow[i] + deltas[2]
  for k = 1, #keys, 2 do
    if redis.call('SISMEMBER', owners, keys[k]) == 1 then
      named[i][keys[k]] = (named[i][keys[k]] or 0) + keys[k + 1]
    else
      new[#new + 1] = k
      overflow[i] = overflow[i] + keys[k + 1]
    end
  end
  -- Of the new ones those first that are shown already: a reader sees no name change for another.
  for _, already in ipairs({1, 0}) do
    for _, k in ipairs(new) do
      if room > 0 and redis.call('HEXISTS', shown, keys[k]) == already then
        raise('owners:' .. counters[i][1], redis.call('SADD', owners, keys[k]))
        room = room - 1
        named[i][keys[k]] = (named[i][keys[k]] or 0) + keys[k + 1]
        overflow[i] = overflow[i] - keys[k + 1]
      end
    end
  end
end

-- This comes before anything is added: where Redis is full, it allows a script what follows a write that
-- makes room.
claim()
count_entries(position, -redis.call('ZREMRANGEBYSCORE', pending, '-inf', to))

-- Shown at once as the difference, so that a key that was pending and is archived keeps its field.
for i = 1, #counters do
  place(i, archived[1 + i])
end
show(events, named, overflow)
redis.call('HINCRBY', tag .. ':settled', position, archived[1])
raise('positions', redis.call('HSET', tag .. ':watermark', position, to))
if origin ~= '' and not meta.origin then
  redis.call('HSET', tag .. ':meta', 'origin', origin)
end
save()
return {'done'}
