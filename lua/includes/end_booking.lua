-- Ends a booking as `status` and frees its seats. INVARIANT: a booking frees only seats that
-- it holds itself. Uses: holders_key, users_key, deadlines_key, leases_key, ended_key, now,
-- set_seat, commit_transition.
local function end_booking(b, status, kind, detail)
  local count = 0
  for seat in string.gmatch(b.seats, '%d+') do
    count = count + 1
    if redis.call('HGET', holders_key, seat) == b.id then
      set_seat(seat, 'a')
      redis.call('HDEL', holders_key, seat)
    end
  end
  if redis.call('HINCRBY', users_key, b.user, -count) <= 0 then
    redis.call('HDEL', users_key, b.user)
  end
  redis.call('ZREM', deadlines_key, b.id)
  redis.call('ZREM', leases_key, b.id)
  redis.call('ZADD', ended_key, now, b.id)
  b.status = status
  b.ended = now
  commit_transition(kind, b, detail)
end
