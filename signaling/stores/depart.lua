-- A node ends in order: from now on it is dead.
--
-- KEYS  1 nodes (last beat in milliseconds)
-- ARGV  1 node  2 lease in milliseconds

local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
redis.call('ZADD', KEYS[1], ms - tonumber(ARGV[2]) - 1, ARGV[1])
