-- A read mark goes forward only, and never beyond the head (rule L10).
--
-- KEYS  1 meta  2 read  3 channel
-- ARGV  1 person  2 id  3 push
-- Answers 1 moved, 0 not, -1 beyond the head.

local function wide(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end

local tail = redis.call('HGET', KEYS[1], 'tail')
if not tail or wide(ARGV[2]) > wide(tail) then return -1 end
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before and wide(ARGV[2]) <= wide(before) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('SPUBLISH', KEYS[3], ARGV[3])
return 1
