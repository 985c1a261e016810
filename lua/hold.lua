#!lua
-- hold: takes seats for one user, all of them or none: the named `seats`, or, if `quantity` is not
-- 0, that many free ones of `sections` (see `find_seats`), adjacent ones or `split`.
--
-- Guarantee: a seat is taken only if it is free, or its hold is overdue, at Redis' time of this
-- call; the booking, its deadline, its idempotency record and its log entry are created together.
-- Past `not_after` nothing is changed. A repeated call writes nothing. A request is answered with
-- its booking while that lives: its record lasts for `idempotency_ttl_ms` and no shorter than the
-- event's longest hold, and from the first payment on the index `requests` has it as long as the
-- booking is paid for or sold. Refusals are decided in the order of the code below. A search scans
-- a bounded number of seats; after `more_to_scan` the caller repeats the call from that position
-- (section 0: from the beginning, since overdue holds were released, or more may be). A call that
-- continues a search releases none beforehand (`overdue_batch` 0): their seats could lie behind
-- the search's position. `exempt` 1 (an admin acts for the user) lifts the waiting room and the
-- user's limit, and nothing else. It belongs to the call and is not stored: the same request
-- without it is answered with its booking while that lives, and is decided like any user's
-- afterwards.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests idempotency
--       room room_numbers room_sessions
-- ARGV: not_after generation nonce layout_version booking user currency idempotency fingerprint
--       trace idempotency_ttl_ms replay_window_ms log_entries_max room_number exempt seats amount
--       orphan_rule neighbours quantity split sections found scan_seats_max scan_runs_max
--       overdue_batch overdue_batch_max
-- Reply: code now, then by code: ok id record left_alone ("seat,...") · replayed id record ·
--        generation_mismatch generation · not_on_sale on_sale_at_ms · user_limit has max ·
--        seats_unavailable states ("seat:state,...") · orphan_seats seats ("seat,...") ·
--        seat_unknown seat · more_to_scan section seat found ("seat,...")
-- Codes: ok replayed idempotency_mismatch layout_mismatch event_closed event_paused not_on_sale
--        session_required number_superseded seat_unknown user_limit seats_unavailable
--        too_few_seats more_to_scan orphan_seats log_full id_taken too_late event_not_loaded
--        generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local idempotency_key = KEYS[12]
local room_key, numbers_key, sessions_key = KEYS[13], KEYS[14], KEYS[15]
local not_after, generation, nonce, layout = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local booking_id, user, currency = ARGV[5], ARGV[6], ARGV[7]
local idempotency, fingerprint, trace = ARGV[8], ARGV[9], ARGV[10]
local idempotency_ttl, replay_window = tonumber(ARGV[11]), tonumber(ARGV[12])
local log_entries_max, room_number, exempt = tonumber(ARGV[13]), ARGV[14], ARGV[15] == '1'
local seats, amount, orphan_rule, neighbours = ARGV[16], ARGV[17], ARGV[18], ARGV[19]
local quantity, split = tonumber(ARGV[20]), ARGV[21] == '1'
local sections, found_before = ARGV[22], ARGV[23]
local scan_seats_left, scan_runs_left = tonumber(ARGV[24]), tonumber(ARGV[25])
local overdue_batch, overdue_batch_max = tonumber(ARGV[26]), tonumber(ARGV[27])
local ev, now, room_now, available_delta, entries_appended = nil, nil, nil, 0, 0

-- @include now

now = now_ms()
if now > not_after then return { 'too_late', now } end

-- The quick hold, which most winners get: a new request for named seats, in a running sale that
-- has no waiting room and no overdue hold. It uses no functions: making those for each call would
-- cost a third more. INVARIANT: where this grants, the code after it would write the same.
local e = redis.call('HMGET', event_key, 'state', 'generation', 'id', 'layout', 'status',
  'on_sale_at', 'off_sale_at', 'hold_ttl', 'max_hold', 'per_user', 'version', 'available',
  'next_deadline')
if e[1] == 'open' and e[2] == generation and e[4] == layout and e[5] == 'ON_SALE'
  and now >= tonumber(e[6]) and (e[7] == '0' or now < tonumber(e[7]))
  and (not e[13] or now < tonumber(e[13])) and quantity == 0 and neighbours == ''
  and redis.call('EXISTS', idempotency_key, room_key) == 0
  and not redis.call('HGET', requests_key, idempotency)
  and redis.call('XLEN', log_key) < log_entries_max then
  local count, free, states = 0, true, {}
  for seat in string.gmatch(seats, '%d+') do
    count = count + 1
    states[count] = redis.call('GETRANGE', seats_key, seat, seat)
    free = free and (states[count] == 'a' or states[count] == 'A')
  end
  local deadline = now + e[8]
  local record = '1\tHOLD\t1\t' .. user .. '\t' .. seats .. '\t' .. amount .. '\t' .. currency
    .. '\t' .. now .. '\t' .. deadline .. '\t' .. nonce .. '\t0\t0\t\t0\t0\t0\t' .. idempotency
    .. '\t' .. fingerprint .. '\t' .. trace
  if free and (redis.call('HGET', users_key, user) or 0) + count <= tonumber(e[10])
    -- The first write also decides: a known id is left to the code below.
    and redis.call('HSETNX', bookings_key, booking_id, record) == 1 then
    local at = 0
    for seat in string.gmatch(seats, '%d+') do
      at = at + 1
      redis.call('SETRANGE', seats_key, seat, states[at] == 'a' and 'h' or 'H')
      redis.call('HSET', holders_key, seat, booking_id)
    end
    redis.call('ZADD', deadlines_key, deadline, booking_id)
    redis.call('HINCRBY', users_key, user, count)
    redis.call('SET', idempotency_key, booking_id .. ' ' .. fingerprint, 'PX',
      math.max(idempotency_ttl, tonumber(e[9])))
    local version, tag = e[11] + 1, nonce .. '.1'
    redis.call('HSET', event_key, 'version', version, 'available', e[12] - count)
    if not e[13] or deadline < tonumber(e[13]) then
      redis.call('HSET', event_key, 'next_deadline', deadline)
    end
    local entry = redis.call('XADD', log_key, '*', 'entry', '2\thold\t' .. e[3] .. '\t'
      .. generation .. '\t' .. version .. '\t' .. now .. '\t' .. tag .. '\t'
      .. (redis.call('GET', link_key) or '') .. '\t' .. booking_id .. '\t' .. record .. '\t')
    redis.call('SET', link_key, entry .. ' ' .. tag)
    return { 'ok', now, booking_id, record, '' }
  end
end

-- @include load_event
-- @include is_over
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include index_request
-- @include commit_transition
-- @include set_deadline
-- @include lower_mark
-- @include set_seat
-- @include end_booking
-- @include lapse
-- @include release_overdue
-- @include release_overdue_of
-- @include note_attempt
-- @include best_run
-- @include offer_seats
-- @include scan_section
-- @include find_seats
-- @include seats_left_alone
-- @include read_number
-- @include room_time
-- @include session_end
-- @include without_session
-- @include reply

local refusal = load_event()
if refusal then return refusal end

-- A repeated request is answered with its booking while that lives.
local function saved_answer(saved)
  if not saved then return nil end
  local saved_id, saved_fingerprint = string.match(saved, '^(%S+) (%S+)$')
  if saved_fingerprint ~= fingerprint then return { 'idempotency_mismatch', now } end
  local b = read_booking(saved_id)
  local within = b and (replay_window == 0 or now - b.created <= replay_window)
  if within and not lapse(b) then
    if b.status == 'HOLD' and note_attempt(b) then
      redis.call('HSET', bookings_key, b.id, pack_booking(b))
    end
    if b.status == 'HOLD' or b.status == 'CONFIRMING' or b.status == 'COMMITTED'
      or b.status == 'CONFIRMED' then
      return reply('replayed', b)
    end
  end
end
local answered = saved_answer(redis.call('GET', idempotency_key))
  or saved_answer(redis.call('HGET', requests_key, idempotency))
if answered then return answered end

if ev.layout ~= layout then return { 'layout_mismatch', now } end
if is_over() then return { 'event_closed', now } end
if ev.status == 'PAUSED' then return { 'event_paused', now } end
if now < ev.on_sale_at then return { 'not_on_sale', now, ev.on_sale_at } end
local no_entry = not exempt and without_session()
if no_entry then return no_entry end

local wanted = {}
for seat in string.gmatch(seats, '%d+') do
  wanted[#wanted + 1] = seat
  if tonumber(seat) < 1 or tonumber(seat) > ev.total then return { 'seat_unknown', now, seat } end
end
local count = quantity > 0 and quantity or #wanted

release_overdue(overdue_batch)
if #wanted > 0 then release_overdue_of(wanted) end

local released = 0
local function seats_of_user() return tonumber(redis.call('HGET', users_key, user) or 0) end
if not exempt and seats_of_user() + count > ev.per_user then
  -- Some of the user's holds may be overdue and not released yet.
  released = release_overdue(overdue_batch_max)
  local has = seats_of_user()
  if has + count > ev.per_user then
    if released == overdue_batch_max then return { 'more_to_scan', now, 0, 0, '' } end
    return { 'user_limit', now, has, ev.per_user }
  end
end

local left_alone = ''
if quantity > 0 then
  local already = {}
  for seat in string.gmatch(found_before, '%d+') do already[#already + 1] = seat end
  local found, at, seat, so_far = find_seats(sections, quantity, split, already)
  if not found and at and released == 0 then
    return { 'more_to_scan', now, at, seat, so_far }
  end
  if not found then
    -- Overdue holds that are not released yet may have the missing seats; seats that this call
    -- released may lie behind the search's position.
    released = released + release_overdue(overdue_batch_max)
    if released > 0 then return { 'more_to_scan', now, 0, 0, '' } end
    return { 'too_few_seats', now }
  end
  wanted, seats, amount = found, table.concat(found, ','), string.format('%.0f', at * quantity)
else
  local states, free = {}, true
  for i, seat in ipairs(wanted) do
    local state = string.lower(redis.call('GETRANGE', seats_key, seat, seat))
    free = free and state == 'a'
    states[i] = seat .. ':' .. state
  end
  if not free then return { 'seats_unavailable', now, table.concat(states, ',') } end
  if neighbours ~= '' then left_alone = seats_left_alone(neighbours) end
  if left_alone ~= '' and orphan_rule == 'enforce' then
    return { 'orphan_seats', now, left_alone }
  end
end

-- Memory is exhausted later than the log: what was sold can still be finished.
if redis.call('XLEN', log_key) >= log_entries_max then return { 'log_full', now } end

-- A repeated call (a client library may run a script twice) after its booking has ended: while that
-- lives, its idempotency record has answered above.
local known = read_booking(booking_id)
if known then
  if known.user ~= user or known.fingerprint ~= fingerprint then return { 'id_taken', now } end
  return reply('replayed', known)
end

-- Everything is decided; from here on only writes.
local b = {
  id = booking_id, status = 'HOLD', version = 0, user = user, seats = seats, amount = amount,
  currency = currency, created = now, deadline = now + ev.hold_ttl, nonce = nonce, lease = 0,
  lease_until = 0, payment = '', paid = 0, confirmed = 0, ended = 0, idempotency = idempotency,
  fingerprint = fingerprint, trace = trace,
}
for _, seat in ipairs(wanted) do
  set_seat(seat, 'h')
  redis.call('HSET', holders_key, seat, booking_id)
end
set_deadline(b)
redis.call('HINCRBY', users_key, user, #wanted)
redis.call('SET', idempotency_key, booking_id .. ' ' .. fingerprint, 'PX',
  math.max(idempotency_ttl, ev.max_hold))
return { 'ok', now, booking_id, commit_transition('hold', b, ''), left_alone }
