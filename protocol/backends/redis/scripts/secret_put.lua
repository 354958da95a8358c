-- Stores a sealed secret, or replaces it.
-- Compares: whether there is one of this name, whose first time stays, or room for one more. Sets: the secret and its times.
-- KEYS: 1 the tenant's secrets. ARGV: 1 name, 2 sealed, 3 how many there may be.
-- Returns {'created' or 'replaced', 'secret', its entry}, or {'full'}.

local clock = redis.call('TIME')
local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))

local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return { 'full' }
end
local first = before and before:match('^(%d+) ') or now
local entry = first .. ' ' .. now .. ' ' .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], entry)
return { before and 'replaced' or 'created', 'secret', entry }
