-- Entries that are no messages leave the log as a deleted message does (rule L8), and a person's read mark with them.
--
-- KEYS  1 log  2 meta  3 gone  4 bodies  5 read
-- ARGV  1 person  2 replicas that the answer waits for  3… ids of the entries

for i = 3, #ARGV do
  local removed = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if removed then
    redis.call('HSET', KEYS[3], removed[1], removed[2][4])
    redis.call('XDEL', KEYS[1], removed[1])
    redis.call('HDEL', KEYS[4], removed[1])
  end
end
redis.call('HDEL', KEYS[5], ARGV[1])
-- As in write: whoever waits for replicas has to write something.
if tonumber(ARGV[2]) > 0 then redis.call('HSET', KEYS[2], 'asked', redis.call('TIME')[1]) end
