-- The last step of every transition of a booking: raises its version, writes its record,
-- keeps the index of requests, moves the event's counters and appends the entry. INVARIANT: no
-- transition without its entry, and none of both without the other, since a script runs whole or
-- not at all.
-- Uses: ev, event_key, bookings_key, available_delta, pack_booking, append_entry, index_request.
local function commit_transition(kind, b, detail)
  b.version = b.version + 1
  redis.call('HSET', bookings_key, b.id, pack_booking(b))
  index_request(b)
  if available_delta ~= 0 then
    redis.call('HINCRBY', event_key, 'available', available_delta)
    available_delta = 0
  end
  append_entry({
    kind = kind, event = ev.id, booking = b.id, user = b.user, seats = b.seats,
    status = b.status, version = b.version, amount = b.amount, currency = b.currency,
    created = b.created, deadline = b.deadline, generation = ev.generation,
    event_version = redis.call('HINCRBY', event_key, 'version', 1), lease = b.lease,
    payment = b.payment, paid = b.paid, idempotency = b.idempotency,
    fingerprint = b.fingerprint, trace = b.trace, detail = detail,
  })
end
