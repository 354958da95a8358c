-- Has every change of a job told, from now on: its events are read.
-- Compares: that there is a record. Sets: that it is followed. Returns 'followed' or 'unknown'.

if call('EXISTS', JOB) == 0 then return 'unknown' end
call('HSET', JOB, 'followed', '1')
return 'followed'
