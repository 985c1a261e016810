-- Writes a hold's deadline to the index. INVARIANT: no hold of the event ends before its
-- `next_deadline` (absent: it has none), so that a script may skip the index until then.
-- Uses: ev, event_key, deadlines_key.
local function set_deadline(b)
  redis.call('ZADD', deadlines_key, b.deadline, b.id)
  if b.deadline < ev.next_deadline then
    ev.next_deadline = b.deadline
    redis.call('HSET', event_key, 'next_deadline', b.deadline)
  end
end
