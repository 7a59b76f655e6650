-- A node says that it is alive, learns who else is, and takes rooms for which time has something to do.
--
-- KEYS  1 nodes (last beat in milliseconds)  2 rooms that are due (when, in milliseconds)
--       3 since when each node has beaten without a gap (milliseconds)
-- ARGV  1 node  2 how long a node that takes a room has for it, in milliseconds  3 how many rooms it takes at most
--       4 lease in milliseconds
-- Answers {milliseconds now, nodes and their beats of the last day, nodes and their steadiness, rooms}.

local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not before or ms - tonumber(before) > tonumber(ARGV[4]) then redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', ms)) end
redis.call('ZADD', KEYS[1], ms, ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - 86400000, 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[3], unpack(gone))
end
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ms, 'LIMIT', 0, tonumber(ARGV[3]))
for _, room in ipairs(due) do redis.call('ZADD', KEYS[2], ms + tonumber(ARGV[2]), room) end
return {string.format('%.0f', ms), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3]), due}
