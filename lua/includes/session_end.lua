-- When a user's session ends; nil if there is none that lives. Uses: sessions_key, now.
local function session_end(user)
  local ends = tonumber(redis.call('ZSCORE', sessions_key, user) or 0)
  if ends > now then return ends end
  return nil
end
