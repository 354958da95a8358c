-- Takes a finished job whose answer was not yet sent.
-- Compares: when it was taken last. Sets: that it is taken now; drops an entry whose job is gone, or has begun anew.
-- ARGV: 2 age. Returns {'taken', field, value, ...} or 'no'.

local taken = tonumber(call('ZSCORE', REPLIES, ID))
if not taken or taken > NOW - tonumber(ARGV[2]) then return 'no' end
if not over(read().state) then
    call('ZREM', REPLIES, ID)
    return 'no'
end
local fields = call('HGETALL', JOB)
call('ZADD', REPLIES, NOW, ID)
table.insert(fields, 1, 'taken')
return fields
