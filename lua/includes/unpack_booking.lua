-- A booking from its tab-separated record; the order of fields is `pack_booking`'s.
local function unpack_booking(id, record)
  local f, n = {}, 0
  for field in string.gmatch(record .. '\t', '([^\t]*)\t') do
    n = n + 1
    f[n] = field
  end
  return {
    id = id, status = f[2], version = tonumber(f[3]), user = f[4], seats = f[5],
    amount = f[6], currency = f[7], created = tonumber(f[8]), deadline = tonumber(f[9]),
    nonce = f[10], lease = tonumber(f[11]), lease_until = tonumber(f[12]), payment = f[13],
    paid = tonumber(f[14]), confirmed = tonumber(f[15]), ended = tonumber(f[16]),
    idempotency = f[17], fingerprint = f[18], trace = f[19],
  }
end
