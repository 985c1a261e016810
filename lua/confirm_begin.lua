#!lua flags=allow-oom
-- confirm_begin: puts a caller's hold under a confirmation lease, so that no deadline frees its
-- seats while money moves.
--
-- Guarantee: at most one lease is in force; each has a higher number than all before it. The
-- hold's deadline does not move. A lapsed lease may be taken over, also past the deadline. A
-- booking that lost a seat to a sale that the archive restored is cancelled, not paid for. Under a
-- caller's own key (`idempotency_ttl_ms` is not 0) each lease leaves a record of its payment. The
-- record has no effect until the booking is sold, by any lease: from then on it refuses another
-- payment under its key. So the key of a declined payment may be sent with another card.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests idempotency
-- ARGV: not_after generation nonce booking user lease_ms attempts_max fingerprint
--       idempotency_ttl_ms
-- Reply: code now, then by code: ok|is_committed|is_confirmed|booking_expired|booking_cancelled|
--        sale_voided|in_flight|attempts_exhausted id record · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch idempotency_mismatch booking_unknown
--        booking_expired booking_cancelled sale_voided in_flight is_committed is_confirmed
--        attempts_exhausted
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key, idempotency_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, user = ARGV[4], ARGV[5]
local lease_ms, attempts_max = tonumber(ARGV[6]), tonumber(ARGV[7])
local fingerprint, idempotency_ttl = ARGV[8], tonumber(ARGV[9])
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
-- @include holds_its_seats
-- @include reply

local REFUSALS = {
  COMMITTED = 'is_committed', CONFIRMED = 'is_confirmed', EXPIRED = 'booking_expired',
  CANCELLED = 'booking_cancelled', VOIDED = 'sale_voided',
}

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b
b, refusal = own_booking()
if refusal then return refusal end
if idempotency_ttl > 0 and (b.status == 'COMMITTED' or b.status == 'CONFIRMED') then
  local saved = redis.call('GET', idempotency_key)
  if saved and string.match(saved, '^%S+ (%S+)$') ~= fingerprint then
    return { 'idempotency_mismatch', now }
  end
end
if REFUSALS[b.status] then return reply(REFUSALS[b.status], b) end

if b.status == 'CONFIRMING' and b.lease_until > now then
  -- A repeated call keeps its lease; another one is refused until this lease ends.
  return reply(b.nonce == nonce and 'ok' or 'in_flight', b)
end
if b.lease >= attempts_max then return reply('attempts_exhausted', b) end
if not holds_its_seats(b) then
  end_booking(b, 'CANCELLED', 'cancelled', 'displaced')
  return reply('booking_cancelled', b)
end

b.status = 'CONFIRMING'
b.nonce = nonce
b.lease = b.lease + 1
b.lease_until = now + lease_ms
if idempotency_ttl > 0 then
  redis.call('SET', idempotency_key, b.id .. ' ' .. fingerprint, 'PX', idempotency_ttl)
end
redis.call('ZREM', deadlines_key, b.id)
redis.call('ZADD', leases_key, b.lease_until, b.id)
commit_transition('confirm_begin', b, '')
return reply('ok', b)
