#!lua
-- open_event: brings an event's inventory into Redis, in two phases around MongoDB's
-- compare-and-set `new -> opened`: `load` writes it as `loading`, `open` puts it on sale.
--
-- Guarantee: an open event is never overwritten. A `load` that finds a load of the same generation
-- keeps it. Each load has a token of its own, and only the load whose token MongoDB recorded with
-- `opened` can be put on sale: a late opener that loads after everything was lost cannot.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests events
-- ARGV: not_after generation nonce phase event layout_version status on_sale_at_ms hold_ttl_ms
--       max_hold_ms per_user total revision token sections inventory off_sale_at_ms
-- Reply: code now, then by code: ok token · generation_mismatch generation
-- Codes: ok too_late event_exists event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local events_key = KEYS[12]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local phase, event, layout, status, on_sale_at = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local hold_ttl, max_hold, per_user, total = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local revision, token, sections, inventory = ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local off_sale_at = ARGV[17]
local now, entries_appended = nil, 0

-- @include now
-- @include append_entry

now = now_ms()
if now > not_after then return { 'too_late', now } end
local found = redis.call('HMGET', event_key, 'state', 'generation', 'load_token', 'status')
local state = found[1]
if state and tonumber(found[2]) > tonumber(generation) then
  return { 'generation_mismatch', now, found[2] }
end

if phase == 'load' then
  if state == 'open' then return { 'event_exists', now } end
  if state and found[2] == generation then return { 'ok', now, found[3] } end
  redis.call('DEL', event_key, seats_key, holders_key, bookings_key, deadlines_key, leases_key,
    users_key, ended_key, requests_key)
  redis.call('HSET', event_key, 'state', 'loading', 'generation', generation, 'id', event,
    'layout', layout, 'status', status, 'on_sale_at', on_sale_at, 'hold_ttl', hold_ttl,
    'max_hold', max_hold, 'per_user', per_user, 'total', total, 'revision', revision,
    'available', total, 'version', 0, 'load_token', token, 'sections', sections,
    'off_sale_at', off_sale_at, 'format', 2)
  redis.call('SET', seats_key, inventory)
  return { 'ok', now, token }
end

if not state or found[3] ~= token then return { 'event_not_loaded', now } end
if found[2] ~= generation then return { 'generation_mismatch', now, found[2] } end
if state == 'open' then return { 'ok', now, token } end
redis.call('HSET', event_key, 'state', 'open')
redis.call('SADD', events_key, event)
local version = redis.call('HINCRBY', event_key, 'version', 1)
-- The loaded status: the caller's may be newer, and `update_event` brings it.
append_entry('opened', event, generation, version, '', found[4])
return { 'ok', now, token }
