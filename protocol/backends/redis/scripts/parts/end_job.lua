-- Ends the job for ever: the record, its last event, the indexes, and how long the record is kept. remove.lua takes
-- the rest away. `field` is 'result' or 'error', and `text` its JSON, empty if there is none: the event has the same.
local function end_job(job, state, dead, field, text, ...)
    local member = job.tenant .. ':' .. ID
    call('ZADD', ENDS, string.format('%d', KEPT + NOW + RETENTION), member)
    if job.reply then call('ZADD', REPLIES, 0, ID) end
    if dead then
        call('ZADD', DEAD, 0, member)
        call('HSET', JOB, 'dead', '1')
    end
    job.state = state
    local seq
    if job.told then
        local value = text ~= '' and ',"' .. field .. '":' .. text or ''
        seq = tell(job, 'result', job.attempt, '{"state":"' .. state .. '"' .. value .. '}')
    else
        seq = job.attempt == '0' and '2' or '3'
    end
    call('HSET', JOB, 'state', state .. ' ' .. STAMP, 'seq', seq, field, text, ...)
    call('PEXPIRE', JOB, RETENTION)
    call('PUBLISH', WAKE, ID .. ' end' .. (job.pace or ''))
end
