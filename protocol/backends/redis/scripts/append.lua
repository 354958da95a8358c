-- Adds events to those of an attempt.
-- Compares: that the attempt is the newest and runs; the ordinals of events already there. Sets: events, last ordinal.
-- ARGV: 2 attempt, 3 ordinal of the first event, then kind and data of each.
-- Returns {'stored'}, {'lost'} or {'unknown'}.

local job = read()
local no = refusal(job, tonumber(ARGV[2]))
if no then return { no } end
add_batch(job, tonumber(ARGV[3]), 4)
commit(job)
return { 'stored' }
