-- Publishes a version of an action, unless its latest version has that content already.
-- Compares: the latest content. Sets: the content (kept for ever from now on), the version, the action.
-- KEYS: 1 action, 2 versions, 3 names, 4 content. ARGV: 1 name, 2 content hash, 3 content, 4 enabled ('1', '0',
-- '' leaves it). Returns {'created' or 'same', field, value, ...} of the action.
-- `last` outlives a deletion, so that no number is given twice.

local ACTION, VERSIONS, NAMES, CONTENT = unpack(KEYS)
local name, hash, content, enabled = unpack(ARGV)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local made = 'same'
local current = redis.call('HMGET', ACTION, 'hash', 'enabled')
redis.call('SET', CONTENT, content)
if current[1] ~= hash then
    made = 'created'
    local number = redis.call('HINCRBY', ACTION, 'last', 1)
    redis.call('HSET', VERSIONS, number, hash .. ' ' .. now)
    redis.call('HSET', ACTION, 'latest', number, 'hash', hash, 'published_at', now, 'updated_at', now)
    redis.call('HSETNX', ACTION, 'created_at', now)
    redis.call('HSETNX', ACTION, 'enabled', '1')
    redis.call('ZADD', NAMES, 0, name)
    changed()
elseif enabled ~= '' and enabled ~= current[2] then
    redis.call('HSET', ACTION, 'updated_at', now)
    changed()
end
if enabled ~= '' then redis.call('HSET', ACTION, 'enabled', enabled) end

local fields = redis.call('HGETALL', ACTION)
table.insert(fields, 1, made)
return fields
