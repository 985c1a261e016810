#!lua flags=allow-oom
-- confirm_late: sells the seats of a booking that its provider reports as paid, whichever attempt
-- paid and whatever happened to the booking meanwhile.
--
-- Guarantee: takes no seat from another booking: a booking that holds its seats keeps them; one
-- that has expired, or that Redis lost, gets the same seats if all of them are free, otherwise the
-- reply is `seats_lost` and nothing is changed. No lease is needed: a payment object is paid at
-- most once, so a second commit repeats the first one. What its owner cancelled stays cancelled.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce booking payment version user seats amount currency created_ms
--       deadline_ms lease idempotency fingerprint trace
-- Reply: code now, then by code: ok|seats_lost|booking_cancelled|sale_voided id record ·
--        generation_mismatch generation
-- Codes: ok seats_lost booking_cancelled sale_voided too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, payment = ARGV[4], ARGV[5]
local known = {
  id = ARGV[4], status = 'EXPIRED', version = tonumber(ARGV[6]), user = ARGV[7], seats = ARGV[8],
  amount = ARGV[9], currency = ARGV[10], created = tonumber(ARGV[11]),
  deadline = tonumber(ARGV[12]), nonce = '', lease = tonumber(ARGV[13]), lease_until = 0,
  payment = '', paid = 0, confirmed = 0, ended = 0, idempotency = ARGV[14],
  fingerprint = ARGV[15], trace = ARGV[16],
}
local ev, now, available_delta, entries_appended = nil, nil, 0, 0

-- @include now
-- @include load_event
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include index_request
-- @include commit_transition
-- @include lower_mark
-- @include set_seat
-- @include end_booking
-- @include lapse
-- @include release_overdue_of
-- @include holds_its_seats
-- @include count_seats
-- @include reply

local ANSWERS = {
  COMMITTED = 'ok', CONFIRMED = 'ok', CANCELLED = 'booking_cancelled', VOIDED = 'sale_voided',
}

local function split(seats)
  local list = {}
  for seat in string.gmatch(seats, '%d+') do list[#list + 1] = seat end
  return list
end

local function are_free(seats)
  for _, seat in ipairs(seats) do
    if string.lower(redis.call('GETRANGE', seats_key, seat, seat)) ~= 'a' then return false end
  end
  return true
end

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b = read_booking(booking_id) or known
if ANSWERS[b.status] then return reply(ANSWERS[b.status], b) end

local seats = split(b.seats)
if b.status == 'EXPIRED' then
  release_overdue_of(seats)
  if not are_free(seats) then return reply('seats_lost', b) end
  redis.call('HINCRBY', users_key, b.user, count_seats(b))
  redis.call('ZREM', ended_key, b.id)
  b.ended = 0
elseif not holds_its_seats(b) then
  return reply('seats_lost', b)
end
for _, seat in ipairs(seats) do
  set_seat(seat, 'b')
  redis.call('HSET', holders_key, seat, b.id)
end
redis.call('ZREM', deadlines_key, b.id)
redis.call('ZREM', leases_key, b.id)
local before = b.status
b.status = 'COMMITTED'
b.payment = payment
b.paid = now
commit_transition('sold', b, before == 'CONFIRMING' and '' or 'late')
return reply('ok', b)
