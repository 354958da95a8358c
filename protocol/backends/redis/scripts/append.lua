-- Adds events to those of an attempt.
-- Compares: that the attempt is the newest and runs; the ordinals of events already there. Sets: events, last ordinal.
-- ARGV: 2 attempt, 3 on: see add_batch(). Returns 'stored', 'lost' or 'unknown'.

local job = read()
local no = refusal(job, ARGV[2])
if no then return no end
add_batch(job, 3)
save(job)
if job.followed then call('PUBLISH', WAKE, ID) end
return 'stored'
