-- A booking's record: format, then the fields in the order that Rust's `Booking` reads.
local function pack_booking(b)
  return '1\t' .. b.status .. '\t' .. b.version .. '\t' .. b.user .. '\t' .. b.seats .. '\t'
    .. b.amount .. '\t' .. b.currency .. '\t' .. b.created .. '\t' .. b.deadline .. '\t' .. b.nonce
    .. '\t' .. b.lease .. '\t' .. b.lease_until .. '\t' .. b.payment .. '\t' .. b.paid .. '\t'
    .. b.confirmed .. '\t' .. b.ended .. '\t' .. b.idempotency .. '\t' .. b.fingerprint .. '\t'
    .. b.trace
end
