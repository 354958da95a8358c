-- Ends the job for ever: the record, its last event, the indexes, and how long the record is kept. remove.lua takes
-- the rest away. `field` is 'result' or 'error', and `text` its JSON, empty if there is none: the event has the same.
local function end_job(job, state, dead, field, text, ...)
    local member = job.tenant .. ':' .. ID
    call('ZADD', ENDS, string.format('%d', KEPT + NOW + RETENTION), member)
    if job.reply then call('ZADD', REPLIES, 0, ID) end
    if dead then
        call('ZADD', DEAD, 0, member)
        mark(job, 'd')
    end
    job.state, job.why = state, STAMP
    if job.told then
        local value = text ~= '' and ',"' .. field .. '":' .. text or ''
        tell(job, 'result', job.attempt, '{"state":"' .. state .. '"' .. value .. '}')
    else
        job.seq = job.attempt == '0' and '2' or '3'
    end
    save(job, field, text, ...)
    call('PEXPIRE', JOB, RETENTION)
    call('PUBLISH', WAKE, ID .. ' end' .. (job.pace or ''))
end
