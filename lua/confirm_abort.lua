#!lua flags=allow-oom
-- confirm_abort: ends a confirmation without a sale: back to HOLD, which expires at once if its
-- deadline has passed; CANCELLED if it lost a seat to a sale that the archive restored.
--
-- Guarantee: only the confirmation that is meant ends: by lease number (a decline, or a payment
-- that surely will not arrive), or by nonce (a begin whose reply was lost; only after
-- `not_before`, so that it cannot overtake it). None ends because time has passed.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce booking mode value not_before
-- Reply: code now, then by code: ok|nothing id record · generation_mismatch generation
-- Codes: ok nothing too_late too_early event_not_loaded generation_mismatch booking_unknown
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, mode, value, not_before = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local ev, now, available_delta, entries_appended = nil, nil, 0, 0

-- @include now
-- @include load_event
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include index_request
-- @include commit_transition
-- @include set_deadline
-- @include lower_mark
-- @include set_seat
-- @include end_booking
-- @include lapse
-- @include holds_its_seats
-- @include reply

now = now_ms()
if now > not_after then return { 'too_late', now } end
if now <= not_before then return { 'too_early', now } end
local refusal = load_event()
if refusal then return refusal end
local b = read_booking(booking_id)
if not b then
  redis.call('ZREM', leases_key, booking_id)
  return { 'booking_unknown', now }
end
local meant = b.status == 'CONFIRMING' and (
  (mode == 'lease' and b.lease == tonumber(value))
  or (mode == 'nonce' and b.nonce == value))
if not meant then
  if b.status ~= 'CONFIRMING' then redis.call('ZREM', leases_key, b.id) end
  return reply('nothing', b)
end
if not holds_its_seats(b) then
  end_booking(b, 'CANCELLED', 'cancelled', 'displaced')
  return reply('ok', b)
end

b.status = 'HOLD'
b.lease_until = 0
redis.call('ZREM', leases_key, b.id)
set_deadline(b)
commit_transition('confirm_abort', b, mode)
lapse(b)
return reply('ok', b)
