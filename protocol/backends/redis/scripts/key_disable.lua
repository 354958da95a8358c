-- Disables or enables an API key.
-- Compares: that the key has this id and is this tenant's. Sets: the switch.
-- KEYS: 1 key. ARGV: 1 id, 2 tenant, 3 disabled ('1' or '0').
-- Returns {'done', field, value, ...} of the key, or {'no'}.

local owner = redis.call('HMGET', KEYS[1], 'id', 'tenant')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return { 'no' } end
redis.call('HSET', KEYS[1], 'disabled', ARGV[3])
changed()
local fields = redis.call('HGETALL', KEYS[1])
table.insert(fields, 1, 'done')
return fields
