-- Deletes an action. Contents stay: accepted jobs still run. The last number stays too.
-- Compares: that the action isn't deleted. Sets: nothing is left but `last`.
-- KEYS: 1 action, 2 versions, 3 names. ARGV: 1 name. Returns {'done'} or {'no'}.

local current = redis.call('HMGET', KEYS[1], 'latest', 'last')
if not current[1] then return { 'no' } end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'last', current[2])
redis.call('ZREM', KEYS[3], ARGV[1])
changed()
return { 'done' }
