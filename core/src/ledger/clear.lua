-- clear: forgets everything under the stream's tag, and claims what comes for the caller's counters.
--
-- KEYS[1]  the stream's hash tag, "{weather}"
-- ARGV[1]  fingerprint of the declaration of the counters
--
-- By the tag, and not by the names of the counters, so that nothing is left of a counter that is no
-- longer declared. The tag is quoted for MATCH.

local pattern = string.gsub(KEYS[1], '[%*%?%[%]%^\\]', '\\%0') .. ':*'
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    redis.call('DEL', key)
  end
until cursor == '0'
redis.call('HSET', KEYS[1] .. ':meta', 'counters', ARGV[1])
return 'cleared'
