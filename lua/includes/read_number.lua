-- A user's number, and the longest end of the session it became (0: that is over); nil where
-- there is none. Uses: numbers_key.
local function read_number(user)
  local record = redis.call('HGET', numbers_key, user)
  if not record then return nil, nil end
  local number, cap = string.match(record, '^(%d+) ?(%d*)$')
  return tonumber(number), tonumber(cap)
end
