#!lua flags=allow-oom
-- room_claim: makes a served place its owner's session, or states why not yet or no longer.
--
-- Guarantee: a session begins only in place of an unclaimed place of a batch that has not lapsed,
-- so live sessions and unclaimed places together never grow here. A number becomes a session once.
-- The token is the record of a number that Redis lost; a state left by an older number of its
-- owner is dropped. A user with a place in no open batch that has not lapsed is owed one: such
-- users claim first from the next batch, the lowest numbers first, of equal ones the older token.
-- KEYS: room room_numbers room_sessions room_owed
-- ARGV: not_after user number place issued_ms floor_joined floor_served
-- Reply: code now, then by code: ok ends_ms cap_ms joined served ·
--        waiting joined served · owed before_them joined served
-- Codes: ok waiting owed session_ended place_given_up place_lapsed number_superseded room_off
--        room_open room_rejects too_late
local room_key, numbers_key, sessions_key, owed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local not_after, user = tonumber(ARGV[1]), ARGV[2]
local number, place, issued_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local floor_joined, floor_served = math.max(tonumber(ARGV[6]), number), tonumber(ARGV[7])
local now, room, room_now = nil, nil, nil

-- @include now
-- @include room_time
-- @include load_room
-- @include redis_time
-- @include raise_floors
-- @include open_batch_of
-- @include keep_books
-- @include read_number
-- @include session_end
-- @include lapse_owed
-- @include drop_owed

now = now_ms()
if now > not_after then return { 'too_late', now } end
load_room()
if not room.is_on then return { 'room_off', now } end
if room.method == 'passthrough' then return { 'room_open', now } end
raise_floors(floor_joined, floor_served)
lapse_owed()

local known, cap = read_number(user)
if known and known > number then return { 'number_superseded', now } end
if known == number and cap then
  local ends = session_end(user)
  if not ends then return { cap == 0 and 'place_given_up' or 'session_ended', now } end
  if room.renews then
    ends = math.max(ends, math.min(room_now + room.session_ms, cap))
    redis.call('ZADD', sessions_key, ends, user)
  end
  return { 'ok', now, redis_time(ends), redis_time(cap), room.joined, room.served }
end
local forgotten = known ~= number
if forgotten then
  redis.call('HSET', numbers_key, user, number)
  redis.call('ZREM', sessions_key, user)
  drop_owed(user)
end
if room.method == 'reject' then return { 'room_rejects', now } end
if room.draw == 'gathering' or room.draw == 'frozen' or place > room.served then
  return { 'waiting', now, room.joined, room.served }
end

-- INVARIANT: one session more, one unclaimed place less.
local function begin_session()
  keep_books()
  local ends, latest = room_now + room.session_ms, room_now + room.session_cap_ms
  redis.call('ZADD', sessions_key, ends, user)
  redis.call('HSET', numbers_key, user, number .. ' ' .. latest)
  return { 'ok', now, redis_time(ends), redis_time(latest), room.joined, room.served }
end

local before_them = redis.call('ZRANK', owed_key, user)
if not before_them then
  local batch = open_batch_of(place)
  if batch and batch[5] > 0 then
    batch[5] = batch[5] - 1
    return begin_session()
  end
  if not batch and not forgotten and place >= room.books_from then
    return { 'place_lapsed', now }
  end
  -- By number, then by the token's time in seconds: both are exact in a score, of 53 bits.
  redis.call('ZADD', owed_key, number * 2 ^ 26 + math.floor(issued_ms / 1000) % 2 ^ 26, user)
  before_them = redis.call('ZRANK', owed_key, user)
end
if before_them < room.late_places then
  drop_owed(user)
  return begin_session()
end
return { 'owed', now, before_them, room.joined, room.served }
