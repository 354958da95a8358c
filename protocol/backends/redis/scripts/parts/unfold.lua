-- Begins the list of the job's events with these: from now on the record doesn't stand for them (see src/store/read.rs), and
-- has the flag `t`. What is there is left from a job of this id whose record is gone: its retention is over, or it was lost.
local function unfold(...)
    call('DEL', EVENTS)
    call('RPUSH', EVENTS, ...)
end
