#!lua flags=allow-oom
-- expire: ends overdue holds of an event, a bounded number per call.
--
-- Guarantee: makes visible what every other script would find by itself; nothing depends on this
-- call.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce overdue_batch
-- Reply: code now, then by code: ok released next_deadline_ms (-1: none) ·
--        generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local overdue_batch = tonumber(ARGV[4])
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
-- @include release_overdue

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local released = release_overdue(overdue_batch)
local next_deadline = redis.call('ZRANGE', deadlines_key, 0, 0, 'WITHSCORES')[2]
return { 'ok', now, released, tonumber(next_deadline or -1) }
