-- A socket of a person is gone. Answers the ones that are left; of several that go at once only the last finds none.
--
-- KEYS  1 sockets of the person
-- ARGV  1 socket

redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HVALS', KEYS[1])
