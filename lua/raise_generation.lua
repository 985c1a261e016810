#!lua flags=allow-oom
-- raise_generation: lets an open event that is in a past state continue under a newer generation,
-- once MongoDB has that one.
--
-- Guarantee: upwards only; a repeated call changes nothing. From then on every script refuses a
-- caller with the older generation, and the entry makes readers of the log take a snapshot.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce
-- Reply: code now, then by code: ok load_token · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local now, entries_appended = nil, 0

-- @include now
-- @include append_entry

now = now_ms()
if now > not_after then return { 'too_late', now } end
local f = redis.call('HMGET', event_key, 'state', 'generation', 'load_token', 'id', 'status')
if f[1] ~= 'open' then return { 'event_not_loaded', now } end
if tonumber(f[2]) > tonumber(generation) then return { 'generation_mismatch', now, f[2] } end
if f[2] ~= generation then
  redis.call('HSET', event_key, 'generation', generation)
  local version = redis.call('HINCRBY', event_key, 'version', 1)
  append_entry('opened', f[4], generation, version, '', f[5])
end
return { 'ok', now, f[3] }
