-- All that a joining device needs of a room, read at one moment (rule L5), and its entry into the live value.
--
-- KEYS  1 log  2 meta  3 gone  4 live  5 read  6 bodies  7 channel
-- ARGV  1 first half of the epoch of a log that begins  2 cursor epoch ("" no cursor)  3 cursor id ("" nothing seen)  4 cursor key ("" unknown)
--       5 limit  6 live version that was seen ("" none is to be written)  7 live blob
-- Answers {epoch, tail, key of the tail, reset, forward, entries, version, blob, read, floor, swapped}; `entries` holds up to
-- limit + 1, ascending when forward, else descending. `version` and `blob` are what there is now: `swapped` (1) what was to be
-- written, else what somebody else wrote.

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'tail', 'key', 'floor', 'floor_key')
local epoch = epoch_of(KEYS[2], meta[1], ARGV[1])
local tail, tail_key, floor = meta[2] or '', meta[3] or '', meta[4] or ''
local cursor_epoch, id, key = ARGV[2], ARGV[3], ARGV[4]
local more_than = tonumber(ARGV[5]) + 1

local reset = ''
if cursor_epoch ~= '' then
  if cursor_epoch ~= epoch then
    reset = 'epoch'
  elseif id == '' then
    if floor ~= '' then reset = 'trimmed' end
  elseif floor ~= '' and order(id) < order(floor) then
    reset = 'trimmed'
  else
    local there = redis.call('XRANGE', KEYS[1], id, id)[1]
    -- The floor is what retention removed last: nothing after it is missing.
    local known = id == floor and meta[5] or there and there[2][4] or redis.call('HGET', KEYS[3], id)
    if not known or (key ~= '' and key ~= known) then reset = 'diverged' end
  end
end

local forward = cursor_epoch ~= '' and reset == ''
local entries
if forward then
  entries = redis.call('XRANGE', KEYS[1], id == '' and '-' or '(' .. id, '+', 'COUNT', more_than)
else
  entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', more_than)
end
local live = redis.call('HMGET', KEYS[4], 'v', 's')
local version, blob, swapped = live[1] or '0', live[2] or '', 0
if ARGV[6] == version then
  version, blob, swapped = set_live(KEYS[4], tonumber(version), ARGV[7]), ARGV[7], 1
  publish_live(KEYS[7], version, blob)
end
return {epoch, tail, tail_key, reset, forward and 1 or 0, with_bodies(entries, KEYS[6]), version, blob,
  redis.call('HGETALL', KEYS[5]), floor, swapped}
