-- Removes a finished job whose retention is over; usually the server has dropped its record by itself.
-- Compares: that it is over, and when its retention ends. Sets: nothing is left of it.
-- ARGV: 2 its entry in the lists. Returns 'taken' or 'no'.

local ends = tonumber(call('ZSCORE', ENDS, ARGV[2]))
if not ends or ends < KEPT or ends > KEPT + NOW then return 'no' end
call('UNLINK', JOB, EVENTS)
call('ZREM', OUTBOX, ID)
call('ZREM', REPLIES, ID)
call('ZREM', ENDS, ARGV[2])
call('ZREM', JOBS, ARGV[2])
call('ZREM', DEAD, ARGV[2])
return 'taken'
