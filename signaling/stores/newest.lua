-- The entry that now holds the message first posted at an id (rule L8), and what became of the asking request (L3).
--
-- KEYS  1 log  2 current  3 keys (prefix)  4 bodies  5 meta
-- ARGV  1 ref  2 person:key  3 replicas that the answer waits for
-- Answers {entries (one or none), "id verb" of the request if it was done before or ""}.

local day = math.floor(tonumber(redis.call('TIME')[1]) / 86400)
local done = redis.call('HGET', KEYS[3] .. day, ARGV[2]) or redis.call('HGET', KEYS[3] .. (day - 1), ARGV[2]) or ''
-- As in write: whoever waits for replicas has to write something.
if done ~= '' and tonumber(ARGV[3]) > 0 then redis.call('HSET', KEYS[5], 'asked', day) end
local held = redis.call('HGET', KEYS[2], ARGV[1]) or ARGV[1]
return {with_bodies(redis.call('XRANGE', KEYS[1], held, held), KEYS[4]), done}
