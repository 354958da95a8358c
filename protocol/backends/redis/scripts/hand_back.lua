-- Ends an attempt whose job goes on.
-- Compares: that it is the newest and runs; whether someone asked to cancel: then the job ends, for it no longer runs.
-- Sets: the attempt's last events and outcome, and the job's next state.
-- ARGV: 2 attempt, 3 outcome, 4 the attempt's error, 5 the job's next state, 6 event, 7 reason, 8 run_at, 9 on: see
-- add_batch(), if there are last events. Returns 'recorded', 'lost' or 'unknown'.

local job = read()
local no = refusal(job, ARGV[2])
if no then return no end
if ARGV[9] then add_batch(job, 9) end
local field, value = ended(job, ARGV[3], ARGV[4])
if job.cancel then
    cancel(job, field, value)
elseif ARGV[5] == 'scheduled' then
    leave(job)
    schedule(job, ARGV[7], ARGV[8], ARGV[6], field, value)
else
    leave(job)
    queue(job, ARGV[7], ARGV[6], field, value)
end
return 'recorded'
