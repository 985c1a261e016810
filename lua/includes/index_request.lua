-- Keeps the index of requests whose booking is being paid for or sold: which booking a request has,
-- by its idempotency digest. INVARIANT: such a request finds its booking as long as Redis has it,
-- however long ago its record ended. A booking that ended removes only its own entry.
-- Uses: requests_key.
local function index_request(b)
  if b.idempotency == '' then return end
  if b.status == 'CONFIRMING' or b.status == 'COMMITTED' or b.status == 'CONFIRMED' then
    redis.call('HSET', requests_key, b.idempotency, b.id .. ' ' .. b.fingerprint)
  elseif b.lease > 0 or b.paid > 0 then
    local saved = redis.call('HGET', requests_key, b.idempotency)
    if saved and string.match(saved, '^%S+') == b.id then
      redis.call('HDEL', requests_key, b.idempotency)
    end
  end
end
