#!lua flags=allow-oom
-- room_draw: ends the gathering of an event's waiting room: the users who have joined by now are
-- in the draw.
--
-- Guarantee: the same reply to every caller from then on, until the archive has recorded it and
-- `room_configure` makes it take effect, also if the sale is postponed meanwhile. Users who join
-- later come after all of them.
-- KEYS: event room
-- ARGV: not_after
-- Reply: code now, then by code: ok joiners joins_hash · not_on_sale on_sale_at_ms
-- Codes: ok nothing not_on_sale event_not_loaded too_late
local event_key, room_key = KEYS[1], KEYS[2]
local not_after = tonumber(ARGV[1])
local generation = nil
local ev, now, room, room_now = nil, nil, nil, nil

-- @include now
-- @include load_event
-- @include room_time
-- @include load_room

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
load_room()
if room.draw ~= 'gathering' and room.draw ~= 'frozen' then return { 'nothing', now } end
if room.draw == 'gathering' and now < ev.on_sale_at then
  return { 'not_on_sale', now, ev.on_sale_at }
end
if room.draw == 'gathering' then
  redis.call('HSET', room_key, 'draw', 'frozen', 'draw_joined', room.joined)
  room.draw_joined = room.joined
end
return { 'ok', now, room.draw_joined, redis.call('HGET', room_key, 'joins_hash') }
