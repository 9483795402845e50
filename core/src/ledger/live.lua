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
    local pending = tag .. ':pending:' .. position
    if redis.call('ZCARD', pending) < math.max(pending_max, 1) then
      -- NX: what is pending already, byte for byte, is shown already.
      local member = cmsgpack.pack({ARGV[3], ARGV[4], index, placed})
      if redis.call('ZADD', pending, 'NX', last, member) == 1 then
        show(placed)
        added = added + 1
      end
    else
      local member, score = unpack(redis.call('ZREVRANGE', pending, 0, 0, 'WITHSCORES'))
      local newest = cmsgpack.unpack(member)
      newest[4] = sum(newest[4], placed, 1)
      redis.call('ZREM', pending, member)
      redis.call('ZADD', pending, math.max(tonumber(score), last), cmsgpack.pack(newest))
      show(placed)
      merged = merged + 1
    end
    redis.call('SADD', tag .. ':pending', position)
  end
end
return {'applied', added, merged, settled}
