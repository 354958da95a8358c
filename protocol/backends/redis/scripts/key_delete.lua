-- Deletes an API key.
-- Compares: that the key has this id and is this tenant's. Sets: nothing is left of it.
-- KEYS: 1 key, 2 ids, 3 the tenant's keys. ARGV: 1 id, 2 tenant. Returns {'done'} or {'no'}.

local owner = redis.call('HMGET', KEYS[1], 'id', 'tenant')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return { 'no' } end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
changed()
return { 'done' }
