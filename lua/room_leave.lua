#!lua flags=allow-oom
-- room_leave: ends a user's place in an event's waiting room, or the session it became.
--
-- Guarantee: the number is never valid again, as long as Redis remembers; a place that was served
-- and not claimed is free at once for the next. One that is not served yet will be skipped, unless
-- it is still to be drawn: its place is unknown then.
-- KEYS: room room_numbers room_sessions room_owed room_left room_leavers
-- ARGV: not_after user number place floor_joined floor_served leavers_kept
-- Reply: code now, then by code: ok|nothing joined served
-- Codes: ok nothing too_late
local room_key, numbers_key, sessions_key, owed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local left_key, leavers_key = KEYS[5], KEYS[6]
local not_after, user = tonumber(ARGV[1]), ARGV[2]
local number, place = tonumber(ARGV[3]), tonumber(ARGV[4])
local floor_joined, floor_served = math.max(tonumber(ARGV[5]), number), tonumber(ARGV[6])
local leavers_kept = tonumber(ARGV[7])
local now, room, room_now = nil, nil, nil

-- @include now
-- @include room_time
-- @include load_room
-- @include raise_floors
-- @include open_batch_of
-- @include keep_books
-- @include read_number
-- @include lapse_owed
-- @include drop_owed

now = now_ms()
if now > not_after then return { 'too_late', now } end
load_room()
raise_floors(floor_joined, floor_served)
lapse_owed()
local known, cap = read_number(user)
-- This token cannot give up a newer number; its own may be given up already.
if known and (known > number or cap == 0) then
  return { 'nothing', now, room.joined, room.served }
end

redis.call('HSET', numbers_key, user, number .. ' 0')
redis.call('HINCRBY', room_key, 'left_total', 1)
redis.call('RPUSH', leavers_key, number)
redis.call('LTRIM', leavers_key, -leavers_kept, -1)
redis.call('ZREM', sessions_key, user)
if drop_owed(user) or cap then
  return { 'ok', now, room.joined, room.served }
end
local batch = open_batch_of(place)
if place > room.served then
  if room.draw == 'none' or room.draw == 'fixed' then
    redis.call('ZADD', left_key, place, number)
  end
elseif batch and batch[5] > 0 then
  batch[5] = batch[5] - 1
  keep_books()
end
return { 'ok', now, room.joined, room.served }
