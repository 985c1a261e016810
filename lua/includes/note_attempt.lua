-- Adds an attempt that is answered with this hold, so that `abort` undoes it only once all of them
-- are lost; returns whether the record changed. Past the bound (`*`) the hold lasts until its
-- deadline. Uses: nonce.
local function note_attempt(b)
  local ATTEMPTS_NOTED_MAX = 8
  if b.nonce == '*' or string.find(',' .. b.nonce .. ',', ',' .. nonce .. ',', 1, true) then
    return false
  end
  local _, commas = string.gsub(b.nonce, ',', '')
  b.nonce = commas + 1 < ATTEMPTS_NOTED_MAX and b.nonce .. ',' .. nonce or '*'
  return true
end
