-- Appends one entry to the booking log, linked to its predecessor by position and tag, and
-- returns its position. Fields that the caller leaves out are empty: every entry has all
-- fields in one order. Uses: log_key, link_key, nonce, now, entries_appended.
local function append_entry(e)
  local prev_id, prev_tag = '0-0', ''
  local link = redis.call('GET', link_key)
  if link then prev_id, prev_tag = string.match(link, '^(%S+) (%S+)$') end
  entries_appended = entries_appended + 1
  local tag = nonce .. '.' .. entries_appended
  local id = redis.call('XADD', log_key, '*',
    'v', '1', 'kind', e.kind, 'event', e.event or '', 'booking', e.booking or '',
    'user', e.user or '', 'seats', e.seats or '', 'status', e.status or '',
    'version', e.version or '', 'amount', e.amount or '', 'currency', e.currency or '',
    'created', e.created or '', 'deadline', e.deadline or '', 'time', now,
    'generation', e.generation or '', 'event_version', e.event_version or '',
    'lease', e.lease or '', 'payment', e.payment or '', 'paid', e.paid or '',
    'idempotency', e.idempotency or '', 'fingerprint', e.fingerprint or '',
    'trace', e.trace or '', 'detail', e.detail or '',
    'tag', tag, 'prev_id', prev_id, 'prev_tag', prev_tag)
  redis.call('SET', link_key, id .. ' ' .. tag)
  return id
end
