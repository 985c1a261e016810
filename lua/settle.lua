#!lua flags=allow-oom
-- settle: brings the archive's outcome of one booking into Redis and acknowledges the log entry
-- that asked for it, in one step.
--
-- Guarantee: `sold` ends as CONFIRMED with every seat BOOKED and held by this booking; `refund`
-- as VOIDED and `cancelled` as CANCELLED, freeing only seats that this booking holds. What the
-- archive ended stays ended: a late `sold` cannot take seats back. Where Redis lacks a sold
-- booking it is written anew from the archive's facts. Under another generation nothing is
-- touched and nothing acknowledged: the caller rereads generation, then outcome, and repeats.
-- KEYS: event seats holders bookings deadlines leases users log link
-- ARGV: not_after generation nonce booking outcome group entry version user seats amount
--       currency created deadline payment paid idempotency fingerprint trace
-- Reply: code now, then by code: ok|settled_otherwise id record · generation_mismatch generation
-- Codes: ok settled_otherwise too_late event_not_loaded generation_mismatch booking_unknown
local event_key, seats_key, holders_key, bookings_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deadlines_key, leases_key, users_key = KEYS[5], KEYS[6], KEYS[7]
local log_key, link_key = KEYS[8], KEYS[9]
local not_after, generation, nonce = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local booking_id, outcome, group, entry = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local archived = {
  id = ARGV[4], status = 'COMMITTED', version = tonumber(ARGV[8]), user = ARGV[9],
  seats = ARGV[10], amount = ARGV[11], currency = ARGV[12], created = tonumber(ARGV[13]),
  deadline = tonumber(ARGV[14]), nonce = '', lease = 0, lease_until = 0, payment = ARGV[15],
  paid = tonumber(ARGV[16]), confirmed = 0, ended = 0, idempotency = ARGV[17],
  fingerprint = ARGV[18], trace = ARGV[19],
}
local ev, now, available_delta, entries_appended = nil, nil, 0, 0

-- @include now
-- @include load_event
-- @include unpack_booking
-- @include pack_booking
-- @include read_booking
-- @include append_entry
-- @include commit_transition
-- @include set_seat
-- @include end_booking
-- @include count_seats
-- @include take_seats
-- @include reply

local TARGETS = { sold = 'CONFIRMED', refund = 'VOIDED', cancelled = 'CANCELLED' }
local KINDS = { CONFIRMED = 'confirmed', VOIDED = 'voided', CANCELLED = 'cancelled' }

local function answer(code, b)
  if entry ~= '' then redis.call('XACK', log_key, group, entry) end
  if not b then return { code, now } end
  return reply(code, b)
end

now = now_ms()
if now > not_after then return { 'too_late', now } end
local refusal = load_event()
if refusal then
  -- A lost event is rebuilt from the archive, which has this outcome: the entry is done with.
  if refusal[1] == 'event_not_loaded' then return answer('event_not_loaded', nil) end
  return refusal
end
local target = TARGETS[outcome]
local b = read_booking(booking_id)
if b and b.status == target then return answer('ok', b) end
-- Ended by the archive's word already: VOIDED always is, CANCELLED where it had been paid.
if b and (b.status == 'VOIDED' or (b.status == 'CANCELLED' and b.paid > 0)) then
  return answer('settled_otherwise', b)
end

if outcome ~= 'sold' then
  if not b then return answer('booking_unknown', nil) end
  if b.status == 'CONFIRMED' and outcome == 'refund' then return answer('settled_otherwise', b) end
  local ended_before = b.status == 'EXPIRED' or b.status == 'CANCELLED'
  b.version = math.max(b.version, archived.version)
  if ended_before then
    -- Its seats went when it ended; only its status is put right.
    b.status = target
    b.ended = now
    commit_transition(KINDS[target], b, 'settle')
  else
    end_booking(b, target, KINDS[target], 'settle')
  end
  return answer('ok', b)
end

local counted = b and (b.status == 'HOLD' or b.status == 'CONFIRMING' or b.status == 'COMMITTED')
b = b or archived
b.version = math.max(b.version, archived.version)
take_seats(b)
if not counted then redis.call('HINCRBY', users_key, b.user, count_seats(b)) end
redis.call('ZREM', deadlines_key, b.id)
redis.call('ZREM', leases_key, b.id)
b.status = 'CONFIRMED'
b.payment = archived.payment
b.paid = archived.paid
b.confirmed = now
b.ended = 0
commit_transition('confirmed', b, 'settle')
return answer('ok', b)
