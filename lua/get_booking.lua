#!lua flags=allow-oom
-- get_booking: one booking; an overdue hold expires first, so that the reply is true at Redis'
-- time.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: nonce booking
-- Reply: code now, then by code: ok id record
-- Codes: ok event_not_loaded booking_unknown
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local nonce, booking_id = ARGV[1], ARGV[2]
local generation = nil
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
-- @include reply

now = now_ms()
local refusal = load_event()
if refusal then return refusal end
local b = read_booking(booking_id)
if not b then return { 'booking_unknown', now } end
lapse(b)
return reply('ok', b)
