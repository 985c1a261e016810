#!lua flags=allow-oom
-- restore_bookings: brings bookings that are live in the archive, and not decided, into an event
-- that is being loaded (its load's `token`), or into an open one that is in a past state (`token`
-- empty).
--
-- Guarantee: every change is a transition with its entry, under the event's new generation, so
-- that it outranks entries of the old one that are still to be archived; a repeated call changes
-- nothing. Rights to a seat: sold, or wanted CONFIRMING, before HOLD; a hold that loses a seat is
-- cancelled whole. A wanted CONFIRMING takes those of its seats that no other sale or payment has;
-- its lease has lapsed. A wanted HOLD needs its deadline ahead and all its seats free; otherwise
-- it is written as ended. Of a booking that Redis has, `CONFIRMING` puts a hold (or one that
-- expired, while its seats are free) under its lease; `HOLD` means that the archive has a version
-- of it that Redis lost: it stays as it is here, under a higher version and, as a hold, with the
-- later deadline. `bookings` is a bounded list, a line each: id, tab, record with the wanted
-- status.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce token bookings
-- Reply: code now, then by code: ok restored ended · generation_mismatch generation
-- Codes: ok too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local token, bookings = ARGV[4], ARGV[5]
local ev, now, available_delta, entries_appended = nil, nil, 0, 0
local restored, ended = 0, 0

-- @include now
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include index_request
-- @include commit_transition
-- @include set_deadline
-- @include count_seats
-- @include lower_mark
-- @include set_seat
-- @include end_booking

local function take(b, seat)
  set_seat(seat, 'h')
  redis.call('HSET', holders_key, seat, b.id)
end

local function is_free(b)
  for seat in string.gmatch(b.seats, '%d+') do
    if string.lower(redis.call('GETRANGE', seats_key, seat, seat)) ~= 'a' then return false end
  end
  return true
end

-- Puts a booking that has its seats, or as many as it gets, under a lease that has lapsed.
local function under_lease(b, lease)
  b.status = 'CONFIRMING'
  b.lease = math.max(b.lease, lease)
  b.lease_until = now
  b.ended = 0
  redis.call('ZREM', deadlines_key, b.id)
  redis.call('ZREM', ended_key, b.id)
  redis.call('ZADD', leases_key, now, b.id)
  commit_transition('restored', b, '')
  restored = restored + 1
end

local function place_confirming(b)
  for seat in string.gmatch(b.seats, '%d+') do
    local holder = redis.call('HGET', holders_key, seat)
    local other = holder and read_booking(holder)
    if other and other.status == 'HOLD' then
      end_booking(other, 'CANCELLED', 'cancelled', 'displaced')
      other = nil
    end
    if not other then take(b, seat) end
  end
  redis.call('HINCRBY', users_key, b.user, count_seats(b))
  under_lease(b, b.lease)
end

local function place_hold(b)
  if b.deadline > now and is_free(b) then
    for seat in string.gmatch(b.seats, '%d+') do take(b, seat) end
    set_deadline(b)
    redis.call('HINCRBY', users_key, b.user, count_seats(b))
    commit_transition('restored', b, '')
    restored = restored + 1
    return
  end
  b.status = b.deadline > now and 'CANCELLED' or 'EXPIRED'
  b.ended = now
  redis.call('ZADD', ended_key, now, b.id)
  commit_transition(string.lower(b.status), b, 'restore')
  ended = ended + 1
end

local function merge(here, b)
  local behind = b.version >= here.version
  here.version = math.max(here.version, b.version)
  if b.status == 'CONFIRMING' then
    if here.status == 'HOLD' or (here.status == 'CONFIRMING' and here.lease < b.lease) then
      return under_lease(here, b.lease)
    end
    if here.status == 'EXPIRED' and is_free(here) then
      here.lease = math.max(here.lease, b.lease)
      return place_confirming(here)
    end
  end
  if behind then
    if here.status == 'HOLD' and b.deadline > here.deadline then
      here.deadline = b.deadline
      set_deadline(here)
    end
    commit_transition('restored', here, '')
    restored = restored + 1
  end
end

now = now_ms()
if now > not_after then return { 'too_late', now } end
local f = redis.call('HMGET', event_key, 'state', 'generation', 'load_token', 'id', 'version',
  'available', 'next_deadline')
if f[1] and f[2] ~= generation then return { 'generation_mismatch', now, f[2] } end
local is_meant = f[1] == 'open' and token == '' or f[1] == 'loading' and token == f[3]
if not is_meant then return { 'event_not_loaded', now } end
ev = {
  id = f[4], generation = f[2], version = tonumber(f[5]), available = tonumber(f[6]),
  next_deadline = tonumber(f[7] or math.huge),
}

for id, record in string.gmatch(bookings, '([^\t\n]+)\t([^\n]+)') do
  local b, here = unpack_booking(id, record), read_booking(id)
  if here then
    merge(here, b)
  elseif b.status == 'CONFIRMING' then
    place_confirming(b)
  else
    place_hold(b)
  end
end
return { 'ok', now, restored, ended }
