-- A call rings for a person: the sockets that are there hear it, and those that come while it rings are given it (rule K1).
--
-- KEYS  1 what rings for the person (room -> frame)  2 channel of the person
-- ARGV  1 room  2 how long, in milliseconds  3 frame  4 message for the channel

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SPUBLISH', KEYS[2], ARGV[4])
