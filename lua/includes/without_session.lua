-- Returns nil if the waiting room lets the caller through: it is off, or lets everybody through, or
-- the caller's number has become a session that lives at Redis' time of this call; else the
-- refusal. INVARIANT: where a room is on, no hold without a live session; no time passes between
-- the check of the session and the hold.
-- Uses: room_key, sessions_key, numbers_key, user, room_number, now, read_number, room_time,
-- session_end.
local function without_session()
  local f = redis.call('HMGET', room_key, 'on', 'surging', 'method', 'halted_from', 'halted_until',
    'halted_ms')
  if f[1] ~= '1' and f[2] ~= '1' or f[3] == 'passthrough' then return nil end
  room_time(f[4], f[5], f[6])
  if not session_end(user) then return { 'session_required', now } end
  if read_number(user) ~= tonumber(room_number) then return { 'number_superseded', now } end
  return nil
end
