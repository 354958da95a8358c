-- Writes what changes of the job, and what follows: fields and values.
local function save(job, ...)
    call('HSET', JOB, 'now', job.state .. ' ' .. job.why .. ' ' .. job.seq .. ' ' .. job.attempt .. ' ' .. job.appended .. ' '
        .. job.crashes .. ' ' .. job.failures .. ' ' .. job.flags .. ' ' .. job.fixed, ...)
end
