#!lua flags=allow-oom
-- forget: drops bookings that ended without a sale long ago, once the archive has them.
--
-- Guarantee: a booking is dropped only if it is EXPIRED, CANCELLED or VOIDED, ended at least
-- `keep_ms` ago by Redis' time, and has exactly the version that the caller saw archived. Nothing
-- else of the event changes, so there is no log entry. An index entry without an ended booking is
-- dropped too. `bookings` is a bounded list `id:version,...`.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce keep_ms bookings
-- Reply: code now, then by code: ok forgotten · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local keep_ms, bookings = tonumber(ARGV[4]), ARGV[5]
local ev, now = nil, nil

-- @include now
-- @include load_event
-- @include unpack_booking
-- @include read_booking

local ENDED = { EXPIRED = true, CANCELLED = true, VOIDED = true }

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
local forgotten = 0
for id, version in string.gmatch(bookings, '([^:,]+):(%d+)') do
  local b = read_booking(id)
  if not b or not ENDED[b.status] then
    redis.call('ZREM', ended_key, id)
  elseif b.version == tonumber(version) and now - b.ended >= keep_ms then
    redis.call('HDEL', bookings_key, id)
    redis.call('ZREM', ended_key, id)
    forgotten = forgotten + 1
  end
end
return { 'ok', now, forgotten }
