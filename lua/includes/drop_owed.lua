-- Removes a user from those who are owed a place, together with the place that is open for them,
-- if one is: no other user gets it midway. Returns whether the user was owed one.
-- Uses: room_key, owed_key, room.
local function drop_owed(user)
  local before_them = redis.call('ZRANK', owed_key, user)
  if not before_them then return false end
  redis.call('ZREM', owed_key, user)
  if before_them < room.late_places then
    room.late_places = room.late_places - 1
    redis.call('HSET', room_key, 'late_places', room.late_places)
  end
  return true
end
