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

-- What has been shown for the range, or at least for the beginning of it: an entry that ends beyond
-- `to` stays pending, and is taken out by the settle that reaches its end.
local truth = cmsgpack.unpack(ARGV[6])
local change = {truth[1]}
for i = 1, #counters do
  change[1 + i] = place(i, truth[1 + i])
end
local pending = tag .. ':pending:' .. position
for _, member in ipairs(redis.call('ZRANGEBYSCORE', pending, '-inf', to)) do
  change = sum(change, cmsgpack.unpack(member)[4], -1)
end
redis.call('ZREMRANGEBYSCORE', pending, '-inf', to)
if redis.call('EXISTS', pending) == 0 then
  redis.call('SREM', tag .. ':pending', position)
end
show(change)
redis.call('HSET', tag .. ':watermark', position, to)
return {'done'}
