-- Holds an attempt for another lease.
-- Compares: that it is the newest and runs. Sets: the lease.
-- ARGV: 2 attempt. Returns 'held', 'cancel' (held, and someone asked to cancel), 'lost' or 'unknown'.

local job = read()
local no = refusal(job, ARGV[2])
if no then return no end
call('ZADD', LEASES, string.format('%d', NOW + LEASE), ID)
return job.cancel and 'cancel' or 'held'
