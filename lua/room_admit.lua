#!lua flags=allow-oom
-- room_admit: opens as many places of an event's waiting room as may be open now.
--
-- Guarantee: INVARIANT live sessions + unclaimed places of open batches <= max_concurrent, and of
-- both together no more than seats that are not sold, of the second no more than seats that are
-- free. Places are served in order, each once. Any number of callers: what they open is in these
-- books. A lapsed batch gives back its unclaimed places. Users who are owed a place come first;
-- those of them whose turn has passed have lapsed. Places of users who left are skipped. Nothing
-- is opened before the sale begins, nor once it has ended. After its beginning was brought
-- forward, a batch stays open for as long as the longest announced pause between two status
-- requests.
-- KEYS: event deadlines leases room room_numbers room_sessions room_owed room_left
-- ARGV: not_after places_max floor_joined floor_served batch_every_ms batches_max late_max
--       ended_batch
-- Reply: code now, then by code: ok|nothing opened joined served live unclaimed owed
-- Codes: ok nothing room_off event_not_loaded too_late
local event_key, deadlines_key, leases_key, room_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local numbers_key, sessions_key, owed_key, left_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local not_after, places_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local floor_joined, floor_served = tonumber(ARGV[3]), tonumber(ARGV[4])
local batch_every_ms, batches_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local late_max, ended_batch = tonumber(ARGV[7]), tonumber(ARGV[8])
local generation = nil
local ev, now, room, room_now = nil, nil, nil, nil
local MINUTE_MS = 60000
-- Places beyond the opened ones that one call checks for users who left.
local PASSED_MAX = 10000

-- @include now
-- @include load_event
-- @include is_over
-- @include room_time
-- @include load_room
-- @include raise_floors
-- @include keep_books
-- @include unclaimed_places
-- @include lapse_owed

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then return refusal end
load_room()
raise_floors(floor_joined, floor_served)
if not room.is_on or room.method ~= 'fifo' then return { 'room_off', now } end

lapse_owed()
-- Removes ended sessions, a bounded number per call: none of them counts any more.
local over = redis.call('ZRANGEBYSCORE', sessions_key, '-inf', room_now, 'LIMIT', 0, ended_batch)
if #over > 0 then redis.call('ZREM', sessions_key, unpack(over)) end

local kept, opened_this_minute, newest = {}, 0, 0
for _, batch in ipairs(room.batches) do
  -- Redis' clock was set back: a batch opened in the future is opened now.
  if batch[3] > room_now then
    batch[3], batch[4] = room_now, math.min(batch[4], room_now + room.claim_ms)
    room.late_until = math.min(room.late_until, room_now + room.claim_ms)
  end
  newest = math.max(newest, batch[3])
  -- A lapsed batch stays lapsed if the clock is set back.
  if room_now >= batch[4] then batch[5] = 0 end
  local counts = room.per_minute > 0 and room_now - batch[3] < MINUTE_MS
  if counts then opened_this_minute = opened_this_minute + batch[6] end
  if counts or room_now < batch[4] then kept[#kept + 1] = batch end
end
room.batches = kept

local live = redis.call('ZCOUNT', sessions_key, '(' .. room_now, '+inf')
local owed = redis.call('ZCARD', owed_key)
local unclaimed = unclaimed_places()
local available = tonumber(redis.call('HGET', event_key, 'available'))
local held = redis.call('ZCARD', deadlines_key) + redis.call('ZCARD', leases_key)
local open = math.min(
  math.min(room.max_concurrent, places_max, available + held) - live - unclaimed,
  available - unclaimed)
if room.per_minute > 0 then open = math.min(open, room.per_minute - opened_this_minute) end
if open < 1 or room_now - newest < batch_every_ms or #kept >= batches_max
  or now < ev.on_sale_at or ev.status ~= 'ON_SALE' or is_over()
  or room.draw == 'gathering' or room.draw == 'frozen' then
  keep_books()
  return { 'nothing', now, 0, room.joined, room.served, live, unclaimed, owed }
end

local claimable_until =
  math.max(room_now + room.claim_ms, room.lenient_until - now + room_now)
local late = 0
if room.late_places == 0 and owed > 0 then
  late = math.min(open, owed, late_max)
  room.late_places, room.late_until = late, claimable_until
end
-- The highest place that is served now: as many present users as there is room for. Places of
-- users who left directly after them are skipped as well.
local first, last, wanted = room.served + 1, room.served, open - late
local function present_to(place)
  return place - room.served - redis.call('ZCOUNT', left_key, first, place)
end
local highest = math.min(room.joined, room.served + wanted + PASSED_MAX)
while last < highest do
  local middle = math.ceil((last + highest) / 2)
  if present_to(middle) <= wanted then last = middle else highest = middle - 1 end
end
local present = math.max(0, present_to(last))
redis.call('ZREMRANGEBYSCORE', left_key, '-inf', last)
if last > room.served or late > 0 then
  room.served = last
  room.batches[#kept + 1] = { first, last, room_now, claimable_until, present, present + late }
end
keep_books()
local opened = late + present
return { opened > 0 and 'ok' or 'nothing', now, opened, room.joined, room.served, live,
  unclaimed + opened, owed }
