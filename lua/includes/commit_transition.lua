-- The last step of every transition of a booking: raises its version, writes its record, keeps the
-- index of requests, moves the event's counters and appends the entry; returns the record.
-- INVARIANT: no transition without its entry, and none of both without the other, since a script
-- runs whole or not at all.
-- Uses: ev, event_key, bookings_key, available_delta, pack_booking, append_entry, index_request.
local function commit_transition(kind, b, detail)
  b.version = b.version + 1
  local record = pack_booking(b)
  redis.call('HSET', bookings_key, b.id, record)
  index_request(b)
  ev.version = ev.version + 1
  ev.available = ev.available + available_delta
  available_delta = 0
  redis.call('HSET', event_key, 'version', ev.version, 'available', ev.available)
  append_entry(kind, ev.id, ev.generation, ev.version, b.id .. '\t' .. record .. '\t', detail)
  return record
end
