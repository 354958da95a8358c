-- Of such a job, an end without events. Who waits for it is told all that a record has of it, unless that is much.
local found = call('HMGET', JOB, 'now', 'start:1')
local rest, tenant = string.match(found[1] or '', '^running %- 2 (1 0 0 0 %- %-?%d+ %-?%d+ (%S+) .+)$')
if rest and ARGV[2] == '1' and ARGV[3] == 'succeeded' and ARGV[5] == 'succeeded' then
    local now, ended = 'succeeded ' .. STAMP .. ' 3 ' .. rest, STAMP .. ' succeeded ' .. ARGV[4]
    call('ZREM', LEASES, ID)
    call('ZADD', ENDS, string.format('%d', KEPT + NOW + RETENTION), tenant .. ':' .. ID)
    call('HSET', JOB, 'now', now, ARGV[6], ARGV[7], 'end:1', ended)
    call('PEXPIRE', JOB, RETENTION)
    local news = ID .. ' end' .. ARGV[9]
    if found[2] and #ARGV[7] <= TOLD then
        news = news .. '\n' .. now .. '\n' .. found[2] .. '\n' .. ended .. '\n' .. ARGV[7]
    end
    call('PUBLISH', WAKE, news)
    return 'recorded'
end
