-- Ends an attempt and its job.
-- Compares: that it is the newest and runs. Sets: its last events and outcome, and the job's end.
-- ARGV: 2 attempt, 3 outcome, 4 the attempt's error, 5 the job's state, 6 'result' or 'error' and 7 its text, 8 dead letter
-- ('1'), 9 the pace (see src/news.rs), 10 on: see add_batch(), if there are last events. Returns 'recorded', 'lost' or 'unknown'.

local job = read()
local no = refusal(job, ARGV[2])
if no then return no end
if ARGV[10] then add_batch(job, 10) end
job.pace = ARGV[9]
call('ZREM', LEASES, ID)
end_job(job, ARGV[5], ARGV[8] ~= '', ARGV[6], ARGV[7], ended(job, ARGV[3], ARGV[4]))
return 'recorded'
