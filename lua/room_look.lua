#!lua flags=allow-oom
-- room_look: the state of an event's waiting room. Every process reads the rooms it serves at
-- intervals, and answers waiting users from that.
--
-- Guarantee: adds the hold attempts that the caller has counted since its last call, and switches
-- an automatic room on and off: on once the attempts of whole seconds have stayed at its bound or
-- above for long enough, off once they stayed below the lower bound for long enough and nobody
-- waits.
-- KEYS: event deadlines leases room room_sessions room_owed room_left room_leavers
-- ARGV: not_after attempts known_left floor_joined floor_served leavers_max young_ms
-- Reply: code now, then by code: ok revision is_on surging method draw draw_joined joined served
--        live unclaimed owed left_waiting left_total seats_free is_sold_out max_concurrent
--        session_ms claim_ms leavers ("number,...") young_batches ("opened:first place,...")
--        on_sale_at_ms is_over
-- Codes: ok too_late
local event_key, deadlines_key, leases_key, room_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sessions_key, owed_key, left_key, leavers_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local not_after, attempts, known_left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local floor_joined, floor_served = tonumber(ARGV[4]), tonumber(ARGV[5])
local leavers_max, young_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local now, room, room_now = nil, nil, nil

-- @include now
-- @include room_time
-- @include load_room
-- @include raise_floors
-- @include unclaimed_places
-- @include is_sold_out

now = now_ms()
if now > not_after then return { 'too_late', now } end
load_room()
raise_floors(floor_joined, floor_served)

local f = redis.call('HMGET', room_key, 'surge', 'second', 'attempts', 'over_since', 'calm_since',
  'left_total')
local owed, unclaimed = redis.call('ZCARD', owed_key), unclaimed_places()
local left_total = tonumber(f[6] or 0)

local on_at, on_after, off_at, off_after =
  string.match(f[1] or '', '^(%d+) (%d+) (%d+) (%d+)$')
if on_at then
  local second, last_second = math.floor(now / 1000), tonumber(f[2] or 0)
  local counted, over_since, calm_since = tonumber(f[3] or 0), f[4], f[5]
  if second ~= last_second then
    -- Seconds without a call had no attempts: a process with attempts makes a call.
    local rate = second == last_second + 1 and counted or 0
    local nobody_waits = room.joined <= room.served and unclaimed == 0 and owed == 0
    over_since = rate >= tonumber(on_at) and (tonumber(over_since) or second * 1000 - 1000) or false
    calm_since = rate < tonumber(off_at) and nobody_waits
      and (tonumber(calm_since) or second * 1000) or false
    if over_since and now - over_since >= tonumber(on_after) then
      room.surging = true
    elseif calm_since and now - calm_since >= tonumber(off_after) then
      room.surging = false
    end
    counted = 0
  end
  redis.call('HSET', room_key, 'second', second, 'attempts', counted + attempts, 'over_since',
    over_since or '', 'calm_since', calm_since or '', 'surging', room.surging and 1 or 0)
  room.is_on = room.surging or redis.call('HGET', room_key, 'on') == '1'
end

local event = redis.call('HMGET', event_key, 'available', 'on_sale_at', 'status', 'off_sale_at')
local off_sale_at = tonumber(event[4] or 0)
local is_over = event[3] == 'CLOSED' or off_sale_at > 0 and now >= off_sale_at

local leavers = {}
local new = math.min(left_total - known_left, leavers_max)
if new > 0 then leavers = redis.call('LRANGE', leavers_key, -new, -1) end
local young = {}
for _, batch in ipairs(room.batches) do
  if room_now - batch[3] <= young_ms then
    young[#young + 1] = (batch[3] + now - room_now) .. ':' .. batch[1]
  end
end
return {
  'ok', now, room.revision, room.is_on and 1 or 0, room.surging and 1 or 0, room.method,
  room.draw, room.draw_joined, room.joined, room.served,
  redis.call('ZCOUNT', sessions_key, '(' .. room_now, '+inf'), unclaimed, owed,
  redis.call('ZCARD', left_key), left_total,
  tonumber(event[1] or 0), is_sold_out() and 1 or 0,
  room.max_concurrent, room.session_ms, room.claim_ms, table.concat(leavers, ','),
  table.concat(young, ','), tonumber(event[2] or 0), is_over and 1 or 0,
}
