-- Keeps the content of a draft for a while.
-- Compares: whether the content is kept for ever, as a version's. Sets: the content and how long it is kept.
-- KEYS: 1 content. ARGV: 1 content, 2 how long in milliseconds. Returns {'done'}.

if redis.call('PTTL', KEYS[1]) ~= -1 then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return { 'done' }
