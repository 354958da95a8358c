-- Starts the next attempt of a delivered job, if nothing stands in the way.
-- Compares: that it is queued, before its deadline, and didn't crash too often. Sets: the attempt and its lease.
-- ARGV: 2 worker, 3 isolation.
-- Returns 'granted' with attempt, failures and crashes; 'unknown'; 'over' and the state, or 'held', if that is all there is to say;
-- or 'settle': settle.lua knows what is to be done.

local job = read()
if not job.state then return 'unknown' end
if over(job.state) then return 'over ' .. job.state end
if job.state == 'running' and NOW < math.min(lease(), job.deadline) then return 'held' end
if job.state ~= 'queued' or NOW >= job.deadline or tonumber(job.crashes) >= CRASHES then return 'settle' end
local attempt = string.format('%d', job.attempt + 1)
start(job, attempt, ARGV[2], ARGV[3])
return 'granted ' .. attempt .. ' ' .. job.failures .. ' ' .. job.crashes
