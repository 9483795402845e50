-- look: how a ledger stands; changes nothing.
--
-- ARGV[3…] positions

local part = damage()
local positions = redis.call('HKEYS', tag .. ':watermark')
for _, position in ipairs(redis.call('HKEYS', tag .. ':pending')) do
  positions[#positions + 1] = position
  if not part and entries_differ(position) then
    part = 'pending:' .. position
  end
end

-- Of each: the watermark, where the first pending entry ends, and the events that are settled.
local each = {}
for index = 3, #ARGV do
  local position = ARGV[index]
  each[#each + 1] = redis.call('HGET', tag .. ':watermark', position) or ''
  each[#each + 1] = redis.call('ZRANGE', entries_of(position), 0, 0, 'WITHSCORES')[2] or ''
  each[#each + 1] = redis.call('HGET', tag .. ':settled', position) or ''
end
return {'ledger', meta.generation or '', part or '', meta.recount or '', meta.origin or '', positions, each, meta.pending or '0'}
