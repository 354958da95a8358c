-- Ends the job for ever: the record, its last event, the indexes, and how long the record is kept. remove.lua takes
-- the rest away.
local function end_job(job, state, event, dead, ...)
    local member = job.tenant .. ':' .. ID
    call('ZADD', ENDS, string.format('%d', KEPT + NOW + RETENTION), member)
    if job.reply then call('ZADD', REPLIES, 0, ID) end
    if dead then
        call('ZADD', DEAD, 0, member)
        call('HSET', JOB, 'dead', '1')
    end
    job.state = state
    call('HSET', JOB, 'state', state .. ' ' .. STAMP, 'seq', tell('result', job.attempt, event), ...)
    call('PEXPIRE', JOB, RETENTION)
    call('PUBLISH', WAKE, ID .. ' end' .. (job.pace or ''))
end
