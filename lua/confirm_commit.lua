#!lua flags=allow-oom
-- confirm_commit: sells a paid booking's seats, under its lease number.
--
-- Guarantee: with `confirm_late` the only script that appends `sold`, the only kind that makes
-- claims. Without the current lease number it changes nothing. A booking that lost a seat to a
-- sale that the archive restored is committed all the same, without changing that seat: it is
-- paid, and the archive makes it `refund`. The buyer's waiting-room session ends in the same step.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests room_sessions
-- ARGV: not_after generation nonce booking lease payment
-- Reply: code now, then by code: ok|lease_stale id record · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch booking_unknown lease_stale
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key, sessions_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, lease, payment = ARGV[4], tonumber(ARGV[5]), ARGV[6]
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
-- @include reply

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b = read_booking(booking_id)
if not b then return { 'booking_unknown', now } end

-- A repeated call.
if b.payment == payment and (b.status == 'COMMITTED' or b.status == 'CONFIRMED') then
  return reply('ok', b)
end
if b.status ~= 'CONFIRMING' or b.lease ~= lease then
  return reply('lease_stale', b)
end

for seat in string.gmatch(b.seats, '%d+') do
  if redis.call('HGET', holders_key, seat) == b.id then set_seat(seat, 'b') end
end
redis.call('ZREM', leases_key, b.id)
redis.call('ZREM', sessions_key, b.user)
b.status = 'COMMITTED'
b.payment = payment
b.paid = now
commit_transition('sold', b, '')
return reply('ok', b)
