-- Whether no seat is free, and none is held that could come free. Uses: event_key, deadlines_key,
-- leases_key.
local function is_sold_out()
  return redis.call('HGET', event_key, 'available') == '0'
    and redis.call('ZCARD', deadlines_key) == 0 and redis.call('ZCARD', leases_key) == 0
end
