-- Before each script that may begin a log: its epoch, a uuid that no other log ever had (rule L1). The first half is of the node
-- that asks, the second is the time in microseconds, because a node makes no new one for each question.

local function epoch_of(meta, known, half)
  if known then return known end
  local now = redis.call('TIME')
  local epoch = string.format('%s%012x', half, (tonumber(now[1]) * 1000000 + tonumber(now[2])) % 281474976710656)
  redis.call('HSET', meta, 'epoch', epoch)
  return epoch
end

