-- Moves the beginning of the sale in its waiting room, if there is one, to `begins`: halts its
-- own time from the moment at which a sale that had begun is postponed until it begins again, and
-- keeps turns open for a while after the beginning was brought forward.
-- Uses: room_key, ev, now, lenient_ms.
local function move_beginning(begins)
  local f = redis.call('HMGET', room_key, 'revision', 'halted_from', 'halted_until', 'halted_ms')
  if not f[1] then return end
  local from, until_ms, halted = tonumber(f[2] or 0), tonumber(f[3] or 0), tonumber(f[4] or 0)
  local ended = math.min(until_ms, math.max(begins, now))
  if from > 0 and now >= ended then
    -- It began again: as it was announced, or is to begin now.
    halted = halted + math.max(0, math.min(now, until_ms) - from)
    from, until_ms = 0, 0
  end
  local had_begun = from > 0 or ev.on_sale_at <= now
  if had_begun and begins > now then
    if from == 0 then from = now end
    until_ms = begins
  end
  redis.call('HSET', room_key, 'halted_from', from, 'halted_until', until_ms, 'halted_ms', halted)
  if now < ev.on_sale_at and begins < ev.on_sale_at then
    redis.call('HSET', room_key, 'lenient_until', now + lenient_ms)
  end
end
