-- Ends the wait of those who were owed a place and let their batch pass. INVARIANT: this comes
-- before a user joins the owed, so that the first of them are those whose turn has passed.
-- Uses: room_key, numbers_key, owed_key, room, room_now.
local function lapse_owed()
  if room.late_places == 0 or room_now < room.late_until then return end
  for _, user in ipairs(redis.call('ZRANGE', owed_key, 0, room.late_places - 1)) do
    redis.call('ZREM', owed_key, user)
    redis.call('HSET', numbers_key, user, string.match(
      redis.call('HGET', numbers_key, user) or '0', '^%d+') .. ' 0')
  end
  room.late_places = 0
  redis.call('HSET', room_key, 'late_places', 0)
end
