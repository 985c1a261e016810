#!lua
-- extend: gives a caller's hold a full hold time from now, within the event's longest hold.
--
-- Guarantee: no hold outlasts `created + max_hold`, however often it is extended; a repeated call
-- changes nothing. Under a caller's own key (`idempotency_ttl_ms` is not 0) the record is written
-- together with the extension, lasts as long as the hold can, and while the booking lives the same
-- key extends once. An extension finishes nothing: like a hold it is refused at the log's limit
-- and at Redis' memory limit, or a caller could fill both by extending.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests idempotency
-- ARGV: not_after generation nonce booking user log_entries_max idempotency_ttl_ms
-- Reply: code now, then by code: ok|replayed|hold_cap_reached|booking_expired|
--        booking_cancelled|sale_voided|in_flight|is_committed|is_confirmed id record ·
--        generation_mismatch generation
-- Codes: ok replayed too_late event_not_loaded generation_mismatch booking_unknown event_closed
--        hold_cap_reached booking_expired booking_cancelled sale_voided in_flight is_committed
--        is_confirmed log_full
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key, idempotency_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, user = ARGV[4], ARGV[5]
local log_entries_max, idempotency_ttl = tonumber(ARGV[6]), tonumber(ARGV[7])
local ev, now, available_delta, entries_appended = nil, nil, 0, 0

-- @include now
-- @include load_event
-- @include is_over
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
-- @include own_booking
-- @include reply

local REFUSALS = {
  CONFIRMING = 'in_flight', COMMITTED = 'is_committed', CONFIRMED = 'is_confirmed',
  EXPIRED = 'booking_expired', CANCELLED = 'booking_cancelled', VOIDED = 'sale_voided',
}
local ENDED = { EXPIRED = true, CANCELLED = true, VOIDED = true }

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b
b, refusal = own_booking()
if refusal then return refusal end
if idempotency_ttl > 0 and not ENDED[b.status] and redis.call('EXISTS', idempotency_key) == 1 then
  return reply('replayed', b)
end
if REFUSALS[b.status] then return reply(REFUSALS[b.status], b) end
if b.nonce == nonce then return reply('ok', b) end
if is_over() then return { 'event_closed', now } end

local cap = b.created + ev.max_hold
if b.deadline >= cap then return reply('hold_cap_reached', b) end
if redis.call('XLEN', log_key) >= log_entries_max then return { 'log_full', now } end
b.deadline = math.max(b.deadline, math.min(now + ev.hold_ttl, cap))
b.nonce = nonce
if idempotency_ttl > 0 then
  redis.call('SET', idempotency_key, b.id .. ' extend', 'PX',
    math.max(idempotency_ttl, ev.max_hold))
end
set_deadline(b)
commit_transition('extend', b, '')
return reply('ok', b)
