#!lua flags=allow-oom
-- room_configure: the operators' settings of an event's waiting room, after MongoDB has them.
--
-- Guarantee: follows MongoDB's revisions upwards only. The floors are applied in any case, so a
-- room that Redis lost comes back with its numbers. A draw continues from its state: `gathering`
-- does not undo `frozen`, and only `fixed` (the archive has recorded who is in it) ends that. A
-- room that is off for good is kept for `keep_ms`, as long as tokens are valid.
-- KEYS: room room_numbers room_sessions room_owed room_left room_leavers
-- ARGV: not_after revision on method max_concurrent per_minute session_ms session_cap_ms renews
--       claim_ms surge draw draw_joined commitment floor_joined floor_served keep_ms
-- Reply: code now, then by code: stale_revision revision
-- Codes: ok stale_revision too_late
local room_key, numbers_key, sessions_key, owed_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local left_key, leavers_key = KEYS[5], KEYS[6]
local not_after, revision, on, method = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local max_concurrent, per_minute, session_ms, session_cap_ms = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local renews, claim_ms, surge = ARGV[9], ARGV[10], ARGV[11]
local draw, draw_joined, commitment = ARGV[12], tonumber(ARGV[13]), ARGV[14]
local floor_joined, floor_served = tonumber(ARGV[15]), tonumber(ARGV[16])
local keep_ms = ARGV[17]
local now, room, room_now = nil, nil, nil

-- @include now
-- @include room_time
-- @include load_room
-- @include raise_floors

now = now_ms()
if now > not_after then return { 'too_late', now } end
load_room()
raise_floors(floor_joined, floor_served)
if revision <= room.revision then return { 'stale_revision', now, room.revision } end

if draw == 'gathering' and room.draw == 'none' then
  redis.call('HSET', room_key, 'joins_hash', commitment)
elseif draw == 'gathering' then
  draw, draw_joined = room.draw, room.draw_joined
end
redis.call('HSET', room_key, 'revision', revision, 'on', on, 'method', method,
  'max_concurrent', max_concurrent, 'per_minute', per_minute, 'session_ms', session_ms,
  'session_cap_ms', session_cap_ms, 'renews', renews, 'claim_ms', claim_ms, 'surge', surge,
  'draw', draw, 'draw_joined', draw_joined)
if surge == '' then redis.call('HDEL', room_key, 'surging', 'over_since', 'calm_since') end
raise_floors(draw_joined, 0)
for _, key in ipairs({ room_key, numbers_key, sessions_key, owed_key, left_key, leavers_key }) do
  if on == '1' or surge ~= '' then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIRE', key, keep_ms)
  end
end
return { 'ok', now }
