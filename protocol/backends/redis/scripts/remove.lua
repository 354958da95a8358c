-- Removes a finished job whose retention is over; usually the server has dropped its record by itself.
-- Compares: when its retention ends. Sets: nothing is left of it.
-- ARGV: 2 its entry in the lists. Returns {'taken'} or {'no'}.

local ends = tonumber(redis.call('ZSCORE', FINISHED, ARGV[2]))
if not ends or ends > NOW then return { 'no' } end
redis.call('DEL', JOB, EVENTS)
redis.call('ZREM', REPLIES, ID)
redis.call('ZREM', JOBS, ARGV[2])
redis.call('ZREM', DEAD, ARGV[2])
redis.call('ZREM', FINISHED, ARGV[2])
return { 'taken' }
