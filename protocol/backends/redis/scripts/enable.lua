-- Flips the switch of an action.
-- Compares: that the action isn't deleted; the switch. Sets: the switch.
-- KEYS: 1 action. ARGV: 1 enabled ('1' or '0'). Returns {'done', field, value, ...} of the action, or {'no'}.

local current = redis.call('HMGET', KEYS[1], 'latest', 'enabled')
if not current[1] then return { 'no' } end
if current[2] ~= ARGV[1] then
    local clock = redis.call('TIME')
    local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
    redis.call('HSET', KEYS[1], 'enabled', ARGV[1], 'updated_at', now)
    changed()
end
local fields = redis.call('HGETALL', KEYS[1])
table.insert(fields, 1, 'done')
return fields
