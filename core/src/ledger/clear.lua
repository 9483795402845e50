-- clear: forgets everything under the stream's tag, and claims what comes for the caller's counters.
--
-- KEYS[1]  the stream's hash tag, "{weather}"
-- ARGV[1]  fingerprint of the declaration of the counters
-- ARGV[2]  the generation that is to be forgotten, '' for none; '*' for any
-- ARGV[3]  the generation that begins
-- ARGV[4]  what will be counted: the archive's origin, '' for any
-- ARGV[5…] keys under the tag that the caller has found
--
-- Keys are unlinked: Redis frees a large one outside of the call. What is pending has been listed by the
-- caller, and is looked up here once more, since an entry may have come in between.

local tag = KEYS[1]
if ARGV[2] ~= '*' and ARGV[2] ~= (redis.call('HGET', tag .. ':meta', 'generation') or '') then
  return 'another'
end
-- A key may be of another type, if somebody else has made it.
local pending = redis.pcall('HKEYS', tag .. ':pending')
for _, position in ipairs(pending.err and {} or pending) do
  redis.call('UNLINK', tag .. ':pending:' .. position)
end
redis.call('UNLINK', tag .. ':pending', tag .. ':watermark', tag .. ':settled', tag .. ':total', tag .. ':overflow', tag .. ':meta')
for index = 5, #ARGV do
  redis.call('UNLINK', ARGV[index])
end
redis.call('HSET', tag .. ':meta', 'counters', ARGV[1], 'format', '2', 'generation', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', tag .. ':meta', 'origin', ARGV[4])
end
return 'cleared'
