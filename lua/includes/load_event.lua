-- Sets `ev` to the event's settings and counters. Returns nil, or the refusal: the event is not
-- open in Redis, or the caller has another generation of it.
-- Uses: event_key, generation (nil: any), ev, now.
local function load_event()
  local f = redis.call('HMGET', event_key, 'state', 'generation', 'id', 'layout', 'status',
    'on_sale_at', 'hold_ttl', 'max_hold', 'per_user', 'total', 'revision', 'off_sale_at',
    'version', 'available', 'next_deadline')
  if f[1] ~= 'open' then return { 'event_not_loaded', now } end
  if generation and generation ~= f[2] then return { 'generation_mismatch', now, f[2] } end
  ev = {
    generation = f[2], id = f[3], layout = f[4], status = f[5], on_sale_at = tonumber(f[6]),
    hold_ttl = tonumber(f[7]), max_hold = tonumber(f[8]), per_user = tonumber(f[9]),
    total = tonumber(f[10]), revision = tonumber(f[11]), off_sale_at = tonumber(f[12] or 0),
    version = tonumber(f[13]), available = tonumber(f[14]),
    next_deadline = tonumber(f[15] or math.huge),
  }
  return nil
end
