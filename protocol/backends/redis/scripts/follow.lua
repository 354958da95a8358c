-- Has every change of a job told, from now on: its events are read.
-- Compares: that there is a record. Sets: that it is followed, and the list of its events, unless it is over: then nothing
-- comes any more. Returns 'followed' or 'unknown'.

local job = read()
if not job.state then return 'unknown' end
mark(job, 'f')
if not over(job.state) then open_list(job) end
save(job)
return 'followed'
