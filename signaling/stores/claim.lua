-- A key of a person belongs to the room that claims it first (rule L3).
--
-- KEYS  1 the person's key
-- ARGV  1 room  2 for how long, in seconds
-- Answers the room that it belonged to before, or "".

return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'EX', ARGV[2]) or ''
