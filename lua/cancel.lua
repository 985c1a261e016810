#!lua flags=allow-oom
-- cancel: gives up a caller's hold; its seats are free at once.
--
-- Guarantee: ends holds only. A sold booking is cancelled in the archive first (then `settle`), so
-- that a resale can never overtake the cancellation. The cancelled booking is the record of its
-- cancellation: a repeated call, under any key, is answered with it.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce booking user
-- Reply: code now, then by code: ok|replayed|booking_expired|in_flight|is_committed|
--        is_confirmed|sale_voided id record · generation_mismatch generation
-- Codes: ok replayed too_late event_not_loaded generation_mismatch booking_unknown
--        booking_expired in_flight is_committed is_confirmed sale_voided
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, user = ARGV[4], ARGV[5]
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
-- @include own_booking
-- @include reply

local ANSWERS = {
  CANCELLED = 'replayed', CONFIRMING = 'in_flight', COMMITTED = 'is_committed',
  CONFIRMED = 'is_confirmed', EXPIRED = 'booking_expired',
  VOIDED = 'sale_voided',
}

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b
b, refusal = own_booking()
if refusal then return refusal end
if ANSWERS[b.status] then return reply(ANSWERS[b.status], b) end

end_booking(b, 'CANCELLED', 'cancelled', '')
return reply('ok', b)
