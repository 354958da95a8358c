-- Ends an attempt and moves its job.
-- Compares: that it is the newest and runs. Sets: its last events and outcome, and the job's next state.
-- A job that would go on although someone asked to cancel it is cancelled: it no longer runs.
-- ARGV: 2 attempt, 3 outcome, 4 the attempt's error, 5 the job's next state, 6 event; of an end: 7 result,
-- 8 error, 9 dead letter ('1'); else: 10 reason, 11 run_at; 12 ordinal of the first last event, then kind and
-- data of each. Returns {'recorded'}, {'lost'} or {'unknown'}.

local job = read()
local no = refusal(job, tonumber(ARGV[2]))
if no then return { no } end

local state, event = ARGV[5], ARGV[6]
add_batch(job, tonumber(ARGV[12]), 13)
end_attempt(job, ARGV[3], ARGV[4])
if TERMINAL[state] then
    end_job(job, state, ARGV[7], ARGV[8], event, ARGV[9] ~= '')
elseif job.cancel then
    cancel(job)
elseif state == 'scheduled' then
    schedule(job, ARGV[10], ARGV[11], event)
else
    queue(job, ARGV[10], event)
end
commit(job)
return { 'recorded' }
