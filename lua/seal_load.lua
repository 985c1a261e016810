#!lua
-- seal_load: gives a complete load another token, the one that MongoDB is to record.
--
-- Guarantee: only the load of this token, before it is put on sale; a repeated call changes
-- nothing. A copy of Redis' data from before this step has the old token: should Redis fall back
-- to it, that copy can be neither sealed nor opened as this load.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce token seal
-- Reply: code now, then by code: generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local token, seal = ARGV[4], ARGV[5]

-- @include now

local now = now_ms()
if now > not_after then return { 'too_late', now } end
local found = redis.call('HMGET', event_key, 'state', 'generation', 'load_token')
if found[1] and found[2] ~= generation then return { 'generation_mismatch', now, found[2] } end
if found[1] ~= 'loading' then return { 'event_not_loaded', now } end
if found[3] == seal then return { 'ok', now } end
if found[3] ~= token then return { 'event_not_loaded', now } end
redis.call('HSET', event_key, 'load_token', seal)
return { 'ok', now }
