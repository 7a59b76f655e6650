-- A page of the log (rule L6).
--
-- KEYS  1 log  2 bodies  3 meta
-- ARGV  1 before ("" no bound)  2 after ("" no bound)  3 how many at most
-- Answers {entries, floor}: ascending with `after`, else descending.

local raw
if ARGV[2] ~= '' then
  raw = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
else
  raw = redis.call('XREVRANGE', KEYS[1], ARGV[1] == '' and '+' or '(' .. ARGV[1], '-', 'COUNT', ARGV[3])
end
return {with_bodies(raw, KEYS[2]), redis.call('HGET', KEYS[3], 'floor') or ''}
