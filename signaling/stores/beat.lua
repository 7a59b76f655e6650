-- A node says that it is alive, learns who else is, and takes rooms for which time has something to do.
--
-- KEYS  1 nodes (last beat in milliseconds)  2 rooms that are due (when, in milliseconds)
-- ARGV  1 node  2 how long a node that takes a room has for it, in milliseconds  3 how many rooms it takes at most
-- Answers {milliseconds now, nodes and their beats of the last day, rooms}.

local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
redis.call('ZADD', KEYS[1], ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - 86400000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ms, 'LIMIT', 0, tonumber(ARGV[3]))
for _, room in ipairs(due) do redis.call('ZADD', KEYS[2], ms + tonumber(ARGV[2]), room) end
return {string.format('%.0f', ms), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), due}
