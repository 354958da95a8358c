-- Makes sure that the list of the job's events is there.
local function open_list(job)
    if job.told then return end
    local f = call('HMGET', JOB, 'at', 'start:1')
    local queued = 'state ' .. f[1] .. ' 0 ' .. QUEUED_EVENT
    if f[2] then
        unfold(queued, 'state ' .. string.match(f[2], '^%d+') .. ' 1 ' .. RUNNING_EVENT)
    else
        unfold(queued)
    end
    job.told = '1'
end
