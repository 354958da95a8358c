-- Records a job unless it is recorded already.
-- Compares: that there is no record. Sets: the record, its first event, the indexes; a mark if it is queued.
-- ARGV[2..7]: see record(). Returns 'new' and the state, or {'same', field, value, ...}.

if call('EXISTS', JOB) == 1 then
    local known = call('HGETALL', JOB)
    table.insert(known, 1, 'same')
    return known
end
-- Nobody watches what was not there, or looks first.
return 'new ' .. record()
