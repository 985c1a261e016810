-- Appends one entry to the booking log, linked to its predecessor by position and tag, and returns
-- its position. An entry is one line of tab-separated values: those below, then `body` (a booking's
-- id and record, or a block's actor and seats, each followed by a tab), then the detail.
-- Uses: log_key, link_key, nonce, now, entries_appended.
local function append_entry(kind, event, generation, event_version, body, detail)
  entries_appended = entries_appended + 1
  local tag, previous = nonce .. '.' .. entries_appended, redis.call('GET', link_key) or ''
  local id = redis.call('XADD', log_key, '*', 'entry', '2\t' .. kind .. '\t' .. event .. '\t'
    .. generation .. '\t' .. event_version .. '\t' .. now .. '\t' .. tag .. '\t' .. previous .. '\t'
    .. body .. detail)
  redis.call('SET', link_key, id .. ' ' .. tag)
  return id
end
