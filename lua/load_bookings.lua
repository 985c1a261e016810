#!lua
-- load_bookings: places what the archive has of an event while it is being loaded: sold bookings
-- with their seats, and blocked seats.
--
-- Guarantee: works only on the load with this token, before it is put on sale, and only whole: a
-- seat of two bookings refuses the call. Placing the same again changes nothing. A blocked seat
-- that was sold stays sold. The request of a sold booking is indexed, so that a retry finds it.
-- `bookings` is a bounded list, a line each: id, tab, record.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce token bookings blocked
-- Reply: code now, then by code: ok placed · seats_lost seat · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch seats_lost
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local token, bookings, blocked = ARGV[4], ARGV[5], ARGV[6]
local available_delta = 0

-- @include now
-- @include unpack_booking
-- @include pack_booking
-- @include count_seats
-- @include lower_mark
-- @include set_seat
-- @include index_request

local now = now_ms()
if now > not_after then return { 'too_late', now } end
local found = redis.call('HMGET', event_key, 'state', 'generation', 'load_token')
if found[1] and found[2] ~= generation then return { 'generation_mismatch', now, found[2] } end
if found[1] ~= 'loading' or found[3] ~= token then return { 'event_not_loaded', now } end

local placing, owner = {}, {}
for id, record in string.gmatch(bookings, '([^\t\n]+)\t([^\n]+)') do
  local b = unpack_booking(id, record)
  for seat in string.gmatch(b.seats, '%d+') do
    local holder = owner[seat] or redis.call('HGET', holders_key, seat) or id
    if holder ~= id then return { 'seats_lost', now, seat } end
    owner[seat] = id
  end
  placing[#placing + 1] = b
end

for _, b in ipairs(placing) do
  if redis.call('HSET', bookings_key, b.id, pack_booking(b)) == 1 then
    redis.call('HINCRBY', users_key, b.user, count_seats(b))
  end
  index_request(b)
end
for seat, id in pairs(owner) do
  set_seat(seat, 'b')
  redis.call('HSET', holders_key, seat, id)
end
for seat in string.gmatch(blocked, '%d+') do
  if redis.call('HEXISTS', holders_key, seat) == 0 then set_seat(seat, 'x') end
end
if available_delta ~= 0 then redis.call('HINCRBY', event_key, 'available', available_delta) end
return { 'ok', now, #placing }
