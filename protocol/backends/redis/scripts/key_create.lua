-- Stores an API key.
-- Compares: that neither its id nor its secret's hash is taken. Sets: the key and both ways to find it.
-- KEYS: 1 key, 2 ids, 3 the tenant's keys. ARGV: 1 id, 2 secret's hash, 3 tenant, 4 key (JSON), 5 disabled
-- ('1' or '0'). Returns {'done'} or {'no'}.

if redis.call('EXISTS', KEYS[1]) == 1 then return { 'no' } end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return { 'no' } end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'tenant', ARGV[3], 'key', ARGV[4], 'disabled', ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
return { 'done' }
