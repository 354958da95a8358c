-- The plain case of a script (`scripts/plain/`) for several jobs of a shard: Rust puts it in the place of its name.
-- KEYS: the indexes that it names, then the record of each job. ARGV: what it takes, of one job after the other.
-- Returns an answer for each: 'alone' where the script itself must be asked, since the job isn't plain, or something is
-- wrong with it.

local JOB, ID, at
local function plain()
PLAIN
end

local count = #KEYS - INDEXES
local each = #ARGV / count
local answers = {}
for i = 1, count do
    at = (i - 1) * each
    JOB, ID = KEYS[INDEXES + i], ARGV[at + 1]
    local fine, answer = pcall(plain)
    answers[i] = fine and answer or 'alone'
end
return answers
