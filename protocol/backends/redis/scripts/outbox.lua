-- Takes an old outbox mark, so that its job is published again.
-- Compares: the mark's age; that the job is queued. Sets: the mark's time; drops a mark of any other job.
-- ARGV: 2 age. Returns 'taken' or 'no'.

local marked = tonumber(call('ZSCORE', OUTBOX, ID))
if not marked or marked > NOW - tonumber(ARGV[2]) then return 'no' end
if read().state ~= 'queued' then
    call('ZREM', OUTBOX, ID)
    return 'no'
end
call('ZADD', OUTBOX, STAMP, ID)
return 'taken'
