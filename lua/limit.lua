#!lua
-- limit: counts requests under limit rules: one request of a caller, or a batch of many callers'
-- requests that a process refused or takes back.
--
-- Guarantee: the request to decide (`asks`) is counted under all its rules or none: none if an
-- enforced one has no room. A rule that is only observed takes no entry beyond its quota. So in any
-- window, wherever it begins, at most `quota` requests are counted. `noted` requests, decided
-- elsewhere, are counted first, as far as there is room (`taken`), whatever the verdict on the
-- request. Before that, `uncounted` moments (`ms:ms...`, or `-`) are taken out of a window: those
-- of counted requests that were granted nothing. Each removes one entry of exactly that moment, or
-- none, so that the rest is as if the request had never come. `checks` is a bounded list, one item
-- a subject and rule, separated by commas: `subject rule kind quota per enforced asks noted
-- forgives uncounted`. `window` grants `quota` in `per` ms, `rate` `quota` at once and `per` a
-- second; `forgives` starts anew first. A caller's subjects are its own keys; fields are
-- `kind:rule`.
-- KEYS: subjects...
-- ARGV: not_after checks
-- Reply: code now, then by code: ok|over_limit over remaining wait_ms taken ... (for each check;
--        wait_ms is how long until one more remains, 0 if all do)
-- Codes: ok over_limit too_late
local subjects = KEYS
local not_after, checks = tonumber(ARGV[1]), ARGV[2]
local now = nil

-- @include now
-- @include window_of
-- @include read_count
-- @include add_to_count
-- @include take_from_count
-- @include wait_of_count

local CHECK = '(%d+) (%S+) (%a+) (%d+) (%d+) (%d) (%d) (%d+) (%d) ([%d:-]+)'
-- A key lives longer than it needs to, so that not every request has to prolong it.
local KEEP_LONGER_MS = 10000

now = now_ms()
if now > not_after then return { 'too_late', now } end
local counts, refused = {}, false
for subject, rule, kind, quota, per, enforced, asks, noted, forgives, uncounted in
  checks:gmatch(CHECK) do
  local c = { key = subjects[tonumber(subject)], field = kind .. ':' .. rule, kind = kind }
  c.quota, c.per, c.asks, c.forgives = tonumber(quota), tonumber(per), asks == '1', forgives == '1'
  read_count(c, not c.forgives and redis.call('HGET', c.key, c.field) or '')
  take_from_count(c, uncounted)
  c.taken = math.min(tonumber(noted), c.free)
  add_to_count(c, c.taken)
  c.over = c.free < 1
  refused = refused or (c.over and c.asks and enforced == '1')
  counts[#counts + 1] = c
end

local reply, keep_ms = { refused and 'over_limit' or 'ok', now }, {}
for _, c in ipairs(counts) do
  if c.asks and not c.over and not refused then add_to_count(c, 1) end
  if c.changed and c.log == '' then
    redis.call('HDEL', c.key, c.field)
  elseif c.changed then
    redis.call('HSET', c.key, c.field, c.log or string.format('%d %d', now, c.debt))
    local needed_ms = c.log and c.per or math.ceil(c.debt / c.per)
    keep_ms[c.key] = math.max(keep_ms[c.key] or 0, needed_ms)
  elseif c.forgives then
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
