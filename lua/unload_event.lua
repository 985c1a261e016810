#!lua flags=allow-oom
-- unload_event: takes a closed event out of Redis, once the archive has all of it.
--
-- Guarantee: all of the event's keys go, or none. They go only if the sale is closed, nothing is
-- held or being paid for, and the event has exactly the version at which the caller saw every
-- booking archived and decided. (Idempotency records end by their own time.)
-- KEYS: event seats holders bookings deadlines leases users ended log link requests events
-- ARGV: not_after generation nonce event_version
-- Reply: code now, then by code: in_use holds confirmations · event_moved event_version ·
--        generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch not_closed in_use event_moved
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local events_key = KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local event_version = tonumber(ARGV[4])
local ev, now, entries_appended = nil, nil, 0

-- @include now
-- @include load_event
-- @include append_entry

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
if ev.status ~= 'CLOSED' then return { 'not_closed', now } end
if ev.version ~= event_version then return { 'event_moved', now, ev.version } end
local holds = redis.call('ZCARD', deadlines_key)
local confirmations = redis.call('ZCARD', leases_key)
if holds + confirmations > 0 then return { 'in_use', now, holds, confirmations } end

-- UNLINK: a million fields are freed by another thread.
redis.call('UNLINK', event_key, seats_key, holders_key, bookings_key, deadlines_key, leases_key,
  users_key, ended_key, requests_key)
redis.call('SREM', events_key, ev.id)
append_entry('unloaded', ev.id, ev.generation, ev.version + 1, '', ev.status)
return { 'ok', now }
