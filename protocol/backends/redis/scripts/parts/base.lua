-- What every job script starts with. Rust puts in front of it, each as a local, the keys and constants that the script
-- names (src/store/scripts.rs). ARGV[1] is the job's id; the rest is each script's own. '' means "none".
--
-- On the way of every job each closure, table, number made text, key and field is time: parts are small, and a script
-- has only those that it names. A script reads and refuses before it writes.

local call = redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- The same as text.
local STAMP = string.format('%d', NOW)
