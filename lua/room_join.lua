#!lua
-- room_join: gives a user the next number of an event's waiting room, once while it lives: while
-- it waits, may be claimed, or is a live session.
--
-- Guarantee: numbers rise by one and are given once, as far as Redis and its callers remember. A
-- user who left, lapsed or had a session gets a new one. While users gather for a draw, each
-- number enters the running hash of the joins, in the same step. A number that was drawn has a
-- place that only the caller can compute: after `place_needed` the caller repeats the call with
-- it.
-- KEYS: event deadlines leases room room_numbers room_sessions room_owed
-- ARGV: not_after user known_number known_place floor_joined floor_served
-- Reply: code now, then by code: ok|replayed number joined served revision · place_needed number
-- Codes: ok replayed place_needed room_off room_open room_rejects sold_out event_closed
--        event_not_loaded too_late
local event_key, deadlines_key, leases_key, room_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local numbers_key, sessions_key, owed_key = KEYS[5], KEYS[6], KEYS[7]
local not_after, user = tonumber(ARGV[1]), ARGV[2]
local known_number, known_place = tonumber(ARGV[3]), tonumber(ARGV[4])
local floor_joined, floor_served = tonumber(ARGV[5]), tonumber(ARGV[6])
local generation = nil
local ev, now, room, room_now = nil, nil, nil, nil

-- @include now
-- @include load_event
-- @include is_over
-- @include room_time
-- @include load_room
-- @include raise_floors
-- @include open_batch_of
-- @include read_number
-- @include session_end
-- @include is_sold_out

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
load_room()
if is_over() then return { 'event_closed', now } end
if not room.is_on then return { 'room_off', now } end
if room.method == 'passthrough' then return { 'room_open', now } end
if room.method == 'reject' then return { 'room_rejects', now } end
raise_floors(floor_joined, floor_served)

-- A number and the revision of the settings: the caller may have to refresh its own.
local function given(code, number)
  return { code, now, number, room.joined, room.served, room.revision }
end

local number, cap = read_number(user)
if number and cap then
  if session_end(user) then return given('replayed', number) end
elseif number then
  local place = number
  if room.draw == 'fixed' and number <= room.draw_joined then
    if number ~= known_number then return { 'place_needed', now, number } end
    place = known_place
  end
  if place > room.served or place < room.books_from or open_batch_of(place)
    or redis.call('ZSCORE', owed_key, user) then
    return given('replayed', number)
  end
end
if is_sold_out() then return { 'sold_out', now } end

number = room.joined + 1
redis.call('HSET', numbers_key, user, number)
redis.call('HSET', room_key, 'joined', number)
if room.draw == 'gathering' then
  local before = redis.call('HGET', room_key, 'joins_hash')
  local after = redis.sha1hex(before .. ':' .. number .. ':' .. redis.sha1hex(user))
  redis.call('HSET', room_key, 'joins_hash', after)
end
room.joined = number
return given('ok', number)
