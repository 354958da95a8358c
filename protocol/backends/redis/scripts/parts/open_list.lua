-- Makes sure that the list of the job's events is there.
local function open_list(job)
    if job.told then return end
    local started = call('HGET', JOB, 'start:1')
    local queued = 'state ' .. job.at .. ' 0 ' .. QUEUED_EVENT
    if started then
        unfold(queued, 'state ' .. string.match(started, '^%d+') .. ' 1 ' .. RUNNING_EVENT)
    else
        unfold(queued)
    end
    job.told = true
    mark(job, 't')
end
