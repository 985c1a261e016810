-- Ends at most `limit` overdue holds of the event, oldest first; returns how many.
-- Uses: ev, event_key, deadlines_key, now, read_booking, lapse.
local function release_overdue(limit)
  if limit == 0 or ev.next_deadline > now then return 0 end
  local released = 0
  local ids = redis.call('ZRANGEBYSCORE', deadlines_key, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    local b = read_booking(id)
    if b and lapse(b) then
      released = released + 1
    elseif not b or b.status ~= 'HOLD' then
      -- The index named something that cannot lapse: drop it rather than meet it for ever.
      redis.call('ZREM', deadlines_key, id)
    else
      redis.call('ZADD', deadlines_key, b.deadline, id)
    end
  end
  local first = redis.call('ZRANGE', deadlines_key, 0, 0, 'WITHSCORES')[2]
  ev.next_deadline = tonumber(first or math.huge)
  if first then
    redis.call('HSET', event_key, 'next_deadline', first)
  else
    redis.call('HDEL', event_key, 'next_deadline')
  end
  return released
end
