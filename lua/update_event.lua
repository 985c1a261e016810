#!lua flags=allow-oom
-- update_event: an operator's change of status or of the sale's times, after MongoDB has it.
--
-- Guarantee: follows MongoDB's revisions upwards only, so that changes that overtake each other
-- end as the newest. While a sale that had begun is postponed, its waiting room's own time is
-- halted (see `room_time`). After a beginning was brought forward, no user's turn passes for
-- `lenient_ms`, the longest announced pause between two status requests.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests room
-- ARGV: not_after generation nonce revision status on_sale_at_ms off_sale_at_ms lenient_ms
-- Reply: code now, then by code: ok version · stale_revision revision version ·
--        generation_mismatch generation
-- Codes: ok stale_revision too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key, room_key = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local revision, status, on_sale_at = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local off_sale_at, lenient_ms = ARGV[7], tonumber(ARGV[8])
local ev, now, entries_appended = nil, nil, 0

-- @include now
-- @include load_event
-- @include append_entry
-- @include move_beginning

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
if revision <= ev.revision then
  return { 'stale_revision', now, ev.revision, ev.version }
end
move_beginning(tonumber(on_sale_at))
redis.call('HSET', event_key, 'revision', revision, 'status', status, 'on_sale_at', on_sale_at,
  'off_sale_at', off_sale_at)
local version = redis.call('HINCRBY', event_key, 'version', 1)
append_entry('event', ev.id, ev.generation, version, '',
  status .. ' ' .. on_sale_at .. ' ' .. off_sale_at)
return { 'ok', now, version }
