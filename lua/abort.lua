#!lua flags=allow-oom
-- abort: undoes a hold whose reply was lost.
--
-- Guarantee: ends the hold only if the reply of every attempt that was answered with it is known
-- to be lost. A retry under the same key that received its reply keeps the hold, and so does a
-- confirmation or an extension. Runs only after `not_before` (the lost call's `not_after`), so
-- that it cannot overtake the call it undoes.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests idempotency
-- ARGV: not_after generation nonce lost_nonce not_before
-- Reply: code now, then by code: ok id record · nothing id record (if there is one) ·
--        generation_mismatch generation
-- Codes: ok nothing too_late too_early event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local idempotency_key = KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local lost_nonce, not_before = ARGV[4], tonumber(ARGV[5])
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
-- @include reply

now = now_ms()
if now > not_after then return { 'too_late', now } end
if now <= not_before then return { 'too_early', now } end
local refusal = load_event()
if refusal then return refusal end
local saved = redis.call('GET', idempotency_key)
local b = saved and read_booking(string.match(saved, '^(%S+)'))
if not b then return { 'nothing', now } end
if b.status ~= 'HOLD' then return reply('nothing', b) end
local others, found = string.gsub(',' .. b.nonce .. ',', ',' .. lost_nonce .. ',', ',', 1)
if found == 0 then return reply('nothing', b) end
if others ~= ',' then
  b.nonce = string.sub(others, 2, -2)
  redis.call('HSET', bookings_key, b.id, pack_booking(b))
  return reply('nothing', b)
end
end_booking(b, 'CANCELLED', 'cancelled', 'abort')
return reply('ok', b)
