#!lua flags=allow-oom
-- settle: brings the archive's outcome of one booking into Redis and acknowledges the log entry
-- that led to it, in one step.
--
-- Guarantee: `sold` ends as CONFIRMED with every seat BOOKED and held by this booking; `refund` as
-- VOIDED and `cancelled` as CANCELLED, freeing only seats that this booking holds. What the
-- archive ended stays ended, also where Redis had lost the booking: a late `sold` cannot take
-- seats back, neither its own nor another confirmed booking's (`seats_lost`). Where Redis lacks
-- the booking it is written anew from the archive's facts. Under another generation, while the
-- event is being loaded, and on `seats_lost`, nothing is changed and nothing acknowledged: the
-- caller rereads generation, then outcome, and repeats.
-- KEYS: event seats holders bookings deadlines leases users ended log link requests
-- ARGV: not_after generation nonce booking outcome group entry version user seats amount
--       currency created_ms deadline_ms payment paid_ms confirmed_ms idempotency fingerprint
--       trace
-- Reply: code now, then by code: ok|settled_otherwise|seats_lost id record ·
--        generation_mismatch generation
-- Codes: ok settled_otherwise seats_lost too_late event_not_loaded generation_mismatch
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key, ended_key = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local log_key, link_key, requests_key = KEYS[9], KEYS[10], KEYS[11]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, outcome, group, entry = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local archived = {
  id = ARGV[4], status = 'COMMITTED', version = tonumber(ARGV[8]), user = ARGV[9],
  seats = ARGV[10], amount = ARGV[11], currency = ARGV[12], created = tonumber(ARGV[13]),
  deadline = tonumber(ARGV[14]), nonce = '', lease = 0, lease_until = 0, payment = ARGV[15],
  paid = tonumber(ARGV[16]), confirmed = 0, ended = 0, idempotency = ARGV[18],
  fingerprint = ARGV[19], trace = ARGV[20],
}
-- When the archive has a sale confirmed; 0 if it does not say.
local confirmed_at = tonumber(ARGV[17])
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
-- @include count_seats
-- @include seats_takeable
-- @include take_seats
-- @include reply

local TARGETS = { sold = 'CONFIRMED', refund = 'VOIDED', cancelled = 'CANCELLED' }
local KINDS = { VOIDED = 'voided', CANCELLED = 'cancelled' }

local function answer(code, b)
  if entry ~= '' then redis.call('XACK', log_key, group, entry) end
  return reply(code, b)
end

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then
  -- A lost event is rebuilt from the archive, which has this outcome: the entry is finished.
  -- The rebuild of an event that is being loaded may have read the archive before this outcome:
  -- the entry has to wait.
  if entry ~= '' and redis.call('EXISTS', event_key) == 0 then
    redis.call('XACK', log_key, group, entry)
  end
  return refusal
end
local target = TARGETS[outcome]
local b = read_booking(booking_id)
-- Settled before. (CANCELLED without payment was a hold that its owner gave up.)
local ended_by_archive = b and (b.status == 'VOIDED' or (b.status == 'CANCELLED' and b.paid > 0))
if b and b.status == target and (target == 'CONFIRMED' or ended_by_archive) then
  return answer('ok', b)
end
if ended_by_archive or (b and b.status == 'CONFIRMED' and outcome == 'refund') then
  return answer('settled_otherwise', b)
end

local live = b and (b.status == 'HOLD' or b.status == 'CONFIRMING' or b.status == 'COMMITTED'
  or b.status == 'CONFIRMED')
b = b or archived
b.version = math.max(b.version, archived.version)
if outcome == 'sold' and not seats_takeable(b) then return reply('seats_lost', b) end
-- From here on only writes. The payment marks what the archive has decided.
b.payment = archived.payment
b.paid = archived.paid
if outcome == 'sold' then
  take_seats(b)
  if not live then redis.call('HINCRBY', users_key, b.user, count_seats(b)) end
  redis.call('ZREM', deadlines_key, b.id)
  redis.call('ZREM', leases_key, b.id)
  redis.call('ZREM', ended_key, b.id)
  b.status = 'CONFIRMED'
  b.confirmed = confirmed_at > 0 and confirmed_at or now
  b.ended = 0
  commit_transition('confirmed', b, 'settle')
elseif live then
  end_booking(b, target, KINDS[target], 'settle')
else
  -- It holds no seats any more, or Redis never had it: only its status is corrected.
  b.status = target
  b.ended = now
  redis.call('ZADD', ended_key, now, b.id)
  commit_transition(KINDS[target], b, 'settle')
end
return answer('ok', b)
