-- check: whether a counter's hash holds what was added to it; changes nothing.
--
-- ARGV[3]  name of the counter
-- ARGV[4]  fields that are read in one call; a hash that has more is told as `large`

local name = ARGV[3]
local shown = tag .. ':' .. name
if redis.call('HLEN', shown) > tonumber(ARGV[4]) then
  return {'large', meta['check:' .. name] or '0', meta.changes or '0'}
end
local check, all = 0, redis.call('HGETALL', shown)
for i = 1, #all, 2 do
  local n = tonumber(all[i + 1])
  if not n then
    return {'differs'}
  end
  check = (check + n % MODULUS * weight(all[i])) % MODULUS
end
return {check == (tonumber(meta['check:' .. name]) or 0) and 'agrees' or 'differs'}
