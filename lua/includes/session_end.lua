-- When a user's session ends, in the room's own time; nil if there is none that lives.
-- Uses: sessions_key, room_now.
local function session_end(user)
  local ends = tonumber(redis.call('ZSCORE', sessions_key, user) or 0)
  if ends > room_now then return ends end
  return nil
end
