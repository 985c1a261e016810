#!lua flags=allow-oom
-- block: keeps seats back for the house (`block`) or gives them back to the sale (`release`).
--
-- Guarantee: all or none. `block` takes seats that are free, or whose hold is overdue, and leaves
-- blocked ones as they are; one held or sold seat refuses it. `release` frees those that are
-- blocked and changes no other. A repeated call changes nothing and appends nothing.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce layout_version action seats actor reason
-- Reply: code now, then by code: ok changed version · seats_unavailable states ("seat:state,..."
--        of those that are neither free nor blocked) · seat_unknown seat ·
--        generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch layout_mismatch seat_unknown
--        seats_unavailable
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce, layout = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local action, seats, actor, reason = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
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
-- @include release_overdue_of

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
if ev.layout ~= layout then return { 'layout_mismatch', now } end

local wanted = {}
for seat in string.gmatch(seats, '%d+') do
  wanted[#wanted + 1] = seat
  if tonumber(seat) < 1 or tonumber(seat) > ev.total then return { 'seat_unknown', now, seat } end
end
local from, to = 'x', 'a'
if action == 'block' then
  from, to = 'a', 'x'
  release_overdue_of(wanted)
end

local changing, taken = {}, {}
for _, seat in ipairs(wanted) do
  local state = string.lower(redis.call('GETRANGE', seats_key, seat, seat))
  if state == from then
    changing[#changing + 1] = seat
  elseif state ~= to and action == 'block' then
    taken[#taken + 1] = seat .. ':' .. state
  end
end
if #taken > 0 then return { 'seats_unavailable', now, table.concat(taken, ',') } end
if #changing == 0 then
  return { 'ok', now, 0, ev.version }
end

for _, seat in ipairs(changing) do set_seat(seat, to) end
redis.call('HINCRBY', event_key, 'available', available_delta)
local version = redis.call('HINCRBY', event_key, 'version', 1)
append_entry(action == 'block' and 'blocked' or 'unblocked', ev.id, ev.generation, version,
  actor .. '\t' .. table.concat(changing, ',') .. '\t', reason)
return { 'ok', now, #changing, version }
