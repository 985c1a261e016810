#!lua flags=allow-oom
-- confirm_takeover: puts a confirmation whose lease has lapsed under a new one, for the process
-- that finds out the state of its payment.
--
-- Guarantee: raises the lease number, so that the former lease has no effect any more. Frees no
-- seat. A lease that has not lapsed by Redis' time stays.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce booking lease_ms
-- Reply: code now, then by code: ok|nothing id record · generation_mismatch generation
-- Codes: ok nothing too_late event_not_loaded generation_mismatch booking_unknown
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, lease_ms = ARGV[4], tonumber(ARGV[5])
local ev, now, available_delta, entries_appended = nil, nil, 0, 0

-- @include now
-- @include load_event
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include index_request
-- @include commit_transition
-- @include reply

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local b = read_booking(booking_id)
if not b then
  redis.call('ZREM', leases_key, booking_id)
  return { 'booking_unknown', now }
end
if b.status ~= 'CONFIRMING' then
  redis.call('ZREM', leases_key, b.id)
  return reply('nothing', b)
end
if b.lease_until > now then
  return reply(b.nonce == nonce and 'ok' or 'nothing', b)
end

b.nonce = nonce
b.lease = b.lease + 1
b.lease_until = now + lease_ms
redis.call('ZADD', leases_key, b.lease_until, b.id)
commit_transition('confirm_begin', b, 'takeover')
return reply('ok', b)
