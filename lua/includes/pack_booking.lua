-- A booking's record: format, then the fields in the order that Rust's `Booking` reads.
local function pack_booking(b)
  return table.concat({
    '1', b.status, b.version, b.user, b.seats, b.amount, b.currency, b.created, b.deadline,
    b.nonce, b.lease, b.lease_until, b.payment, b.paid, b.confirmed, b.ended, b.idempotency,
    b.fingerprint, b.trace,
  }, '\t')
end
