#!lua
-- limit: counts requests under limit rules: one request of a caller, or a batch of many callers'
-- requests that a process refused or takes back.
--
-- Guarantee: a request to decide is counted under all its rules or none: none if an enforced one
-- has no room. A rule that is only observed takes no entry beyond its quota. So in any window,
-- wherever it begins, at most `quota` requests are counted. Noted requests, decided elsewhere, are
-- counted first, as far as there is room (`taken`), whatever the verdict on the request. Before
-- that, moments are taken out of a window: those of counted requests that were granted nothing.
-- Each removes one entry of exactly that moment, or none, so that the rest is as if the request
-- had never come. Each list has one item a check, which is a subject and a rule; checks of one
-- subject are adjacent. `fields` are `kind:rule`: a `window` grants `quota` in `per` ms, a `rate`
-- `quota` at once and `per` a second. `actions`: `enforce` and `observe` decide a request, `note`
-- has none, `forget` starts anew and has none. `counts`: how many requests are noted, then, after
-- a space, the moments to take out (`ms:ms...`), if any. A caller's subjects are its own keys.
-- KEYS: subjects...
-- ARGV: not_after fields... quotas... pers... actions... counts...
-- Reply: code now, then by code: ok|over_limit over remaining wait_ms taken ... (for each check;
--        wait_ms is how long until one more remains, 0 if all do)
-- Codes: ok over_limit too_late
local subjects = KEYS
local not_after, now = tonumber(ARGV[1]), nil
local n = #subjects
-- Where in ARGV each list begins.
local fields, quotas, pers, actions, counts = 1, 1 + n, 1 + 2 * n, 1 + 3 * n, 1 + 4 * n

-- @include now

-- A key lives longer than it needs to, so that not every request has to prolong it.
local KEEP_LONGER_MS = 10000

now = now_ms()
if now > not_after then return { 'too_late', now } end

-- The quick way, which almost every request takes: windows of one subject, with nothing noted,
-- taken out or forgotten, and a clock that was not set back. It uses no functions: making those
-- for each call would cost as much again. INVARIANT: the code after it would decide and write the
-- same.
local quick = true
for i = 1, n do
  quick = quick and subjects[i] == subjects[1] and ARGV[counts + i] == '0'
    and ARGV[actions + i] ~= 'forget' and string.byte(ARGV[fields + i]) == 119 -- w
end
if quick then
  local logs = redis.call('HMGET', subjects[1], unpack(ARGV, 2, 1 + n))
  local reply, refused = { 'ok', now }, false
  for i = 1, n do
    local log, per = logs[i] or '', tonumber(ARGV[pers + i])
    local first, size = 1, #log
    while first < size and struct.unpack('>I6', log, first) <= now - per do first = first + 6 end
    quick = quick and (first > size or struct.unpack('>I6', log, size - 5) <= now)
    logs[i] = first > 1 and string.sub(log, first) or log
    local free = ARGV[quotas + i] - (size + 1 - first) / 6
    local over = free < 1
    if over and ARGV[actions + i] == 'enforce' then refused, reply[1] = true, 'over_limit' end
    local at = 4 * i - 1
    reply[at], reply[at + 1], reply[at + 3] = over and 1 or 0, math.max(0, free), 0
  end
  if quick then
    local changes, keep_ms = {}, 0
    for i = 1, n do
      local at, per, quota = 4 * i - 1, tonumber(ARGV[pers + i]), tonumber(ARGV[quotas + i])
      if not refused and reply[at] == 0 and ARGV[actions + i] ~= 'note' then
        logs[i] = logs[i] .. struct.pack('>I6', now)
        changes[#changes + 1], changes[#changes + 2] = ARGV[fields + i], logs[i]
        reply[at + 1] = reply[at + 1] - 1
        keep_ms = math.max(keep_ms, per)
      end
      -- After a quota was lowered there may be more moments than it allows.
      local oldest = math.max(0, #logs[i] - quota * 6) + 1
      reply[at + 2] = logs[i] == '' and 0 or struct.unpack('>I6', logs[i], oldest) + per - now
    end
    if keep_ms > 0 then
      redis.call('HSET', subjects[1], unpack(changes))
      if redis.call('PTTL', subjects[1]) < keep_ms then
        redis.call('PEXPIRE', subjects[1], keep_ms + KEEP_LONGER_MS)
      end
    end
    return reply
  end
end

-- @include window_of
-- @include read_count
-- @include add_to_count
-- @include take_from_count
-- @include wait_of_count

local checks, refused = {}, false
for i = 1, n do
  local c = { key = subjects[i], field = ARGV[fields + i], action = ARGV[actions + i] }
  c.kind, c.quota, c.per = c.field:match('^%a+'), tonumber(ARGV[quotas + i]),
    tonumber(ARGV[pers + i])
  local noted, uncounted = ARGV[counts + i]:match('^(%d+) ?(.*)$')
  c.asks = c.action == 'enforce' or c.action == 'observe'
  read_count(c, c.action ~= 'forget' and redis.call('HGET', c.key, c.field) or '')
  take_from_count(c, uncounted)
  c.taken = math.min(tonumber(noted), c.free)
  add_to_count(c, c.taken)
  c.over = c.free < 1
  refused = refused or (c.over and c.action == 'enforce')
  checks[i] = c
end

local reply, keep_ms = { refused and 'over_limit' or 'ok', now }, {}
for _, c in ipairs(checks) do
  if c.asks and not c.over and not refused then add_to_count(c, 1) end
  if c.changed and c.log == '' then
    redis.call('HDEL', c.key, c.field)
  elseif c.changed then
    redis.call('HSET', c.key, c.field, c.log or string.format('%d %d', now, c.debt))
    local needed_ms = c.log and c.per or math.ceil(c.debt / c.per)
    keep_ms[c.key] = math.max(keep_ms[c.key] or 0, needed_ms)
  elseif c.action == 'forget' then
    redis.call('HDEL', c.key, c.field)
  end
  for _, number in ipairs({ c.over and 1 or 0, c.free, wait_of_count(c), c.taken }) do
    reply[#reply + 1] = number
  end
end
for key, needed_ms in pairs(keep_ms) do
  if redis.call('PTTL', key) < needed_ms then
    redis.call('PEXPIRE', key, needed_ms + KEEP_LONGER_MS)
  end
end
return reply
