-- One decision for one key, whole or not at all: its windows, its calls at once, its budgets. See shared.py.
--
-- KEYS: leases, then a hash for each window, then for each budget a hash and a set of what is set aside.
-- ARGV: lease, its seconds, tokens, calls at once (-1: any), number of windows, number of budgets,
--       for each window: amount, slot width in microseconds, 1 if it counts tokens;
--       for each budget: amount, 1 if hard, what to set aside (-1: unknown), 1 if unknown is refused,
--                        what was known to be spent, seconds to keep it.
-- Gives: code, which (from 1), wait in microseconds (-1: never), now, calls under way,
--        for each window: left, whole in microseconds; for each budget: spent.
-- Codes: 0 come in, 1 a window is full, 2 larger than a window, 3 too many at once, 4 over budget, 5 no price.

local SLOTS = 100
local SIZE = SLOTS + 1
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease, life, tokens, most = ARGV[1], tonumber(ARGV[2]) * 1000000, tonumber(ARGV[3]), tonumber(ARGV[4])
local windows, budgets = tonumber(ARGV[5]), tonumber(ARGV[6])
local code, which, wait = 0, 0, 0

local function whole(number) return string.format('%.0f', number) end

local function refuse(why, at, seconds)
  if code == 0 or (code == 1 and why == 1 and seconds > wait) then code, which, wait = why, at, seconds end
end

-- Leases of replicas that died.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local open = redis.call('ZCARD', KEYS[1])
if most >= 0 and open >= most then refuse(3, 1, 1000000) end

-- Windows: the ring of limits.py. `l` is the newest slot, `u` the sum.
local taken = {}
for index = 1, windows do
  local key, at = KEYS[1 + index], 6 + (index - 1) * 3
  local amount, width, cost = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), 1
  if ARGV[at + 3] == '1' then cost = tokens end
  local head = redis.call('HMGET', key, 'l', 'u')
  local slot, last, used = math.floor(now / width), tonumber(head[1] or '0'), tonumber(head[2] or '0')
  if slot < last then slot = last end -- the server's clock was set back
  if slot - last >= SIZE then
    redis.call('DEL', key)
    used = 0
  elseif slot > last then
    local passed = {}
    for one = last + 1, slot do passed[#passed + 1] = whole(one % SIZE) end
    local counts = redis.call('HMGET', key, unpack(passed))
    for _, count in ipairs(counts) do if count then used = used - tonumber(count) end end
    redis.call('HDEL', key, unpack(passed))
  end
  redis.call('HSET', key, 'l', whole(slot), 'u', whole(used))
  redis.call('PEXPIRE', key, whole(math.ceil(width * (SIZE + 1) / 1000)))
  taken[index] = {key = key, slot = slot, used = used, cost = cost, amount = amount, width = width}
  if used + cost > amount then
    if cost > amount then
      refuse(2, index, -1)
    else
      local short, until_slot = used + cost - amount, slot
      local counts = {}
      for one = slot - SLOTS, slot do counts[#counts + 1] = whole(one % SIZE) end
      counts = redis.call('HMGET', key, unpack(counts))
      for offset, count in ipairs(counts) do
        short = short - tonumber(count or '0')
        if short <= 0 then until_slot = slot - SLOTS + offset - 1 break end
      end
      refuse(1, index, (until_slot + SIZE) * width - now + 1)
    end
  end
end

-- Budgets: `s` is spent, `r` is set aside.
local parts = {}
for index = 1, budgets do
  local key, held = KEYS[1 + windows + index * 2 - 1], KEYS[1 + windows + index * 2]
  local at = 6 + windows * 3 + (index - 1) * 6
  local amount, hard, part = tonumber(ARGV[at + 1]), ARGV[at + 2] == '1', tonumber(ARGV[at + 3])
  local known, keep = tonumber(ARGV[at + 5]), ARGV[at + 6]
  local head = redis.call('HMGET', key, 's', 'r')
  local spent, reserved = tonumber(head[1] or '0'), tonumber(head[2] or '0')
  if spent < known then spent = known end -- the server lost its memory
  -- What was set aside for calls that nobody will settle any more: it counts as spent, since unknown is not nothing.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', whole(now), 'LIMIT', 0, 100)) do
    local lost = tonumber(string.match(member, ':(%d+)$'))
    spent, reserved = spent + lost, reserved - lost
    redis.call('ZREM', held, member)
  end
  redis.call('HSET', key, 's', whole(spent), 'r', whole(reserved))
  redis.call('EXPIRE', key, keep)
  parts[index] = {key = key, held = held, part = part, keep = keep, spent = spent}
  if hard and part < 0 then
    if ARGV[at + 4] == '1' then refuse(5, index, -1) elseif spent >= amount then refuse(4, index, 0) end
  elseif hard and spent + reserved + part > amount then
    refuse(4, index, 0)
  end
end

if code == 0 then
  for _, window in ipairs(taken) do
    redis.call('HINCRBY', window.key, whole(window.slot % SIZE), whole(window.cost))
    redis.call('HINCRBY', window.key, 'u', whole(window.cost))
    window.used = window.used + window.cost
  end
  for _, budget in ipairs(parts) do
    local part = math.max(budget.part, 0)
    redis.call('HINCRBY', budget.key, 'r', whole(part))
    redis.call('ZADD', budget.held, whole(now + life), lease .. ':' .. whole(part))
    redis.call('EXPIRE', budget.held, budget.keep)
  end
  redis.call('ZADD', KEYS[1], whole(now + life), lease)
  redis.call('PEXPIRE', KEYS[1], whole(life / 1000 + 1000))
  open = open + 1
end

local reply = {code, which, whole(wait), whole(now), open}
for _, window in ipairs(taken) do
  reply[#reply + 1] = whole(math.max(0, window.amount - window.used))
  -- Whole again at the latest when the newest slot is over: no more look-ups for a header.
  reply[#reply + 1] = whole(window.used > 0 and (window.slot + SIZE) * window.width - now or 0)
end
for _, budget in ipairs(parts) do reply[#reply + 1] = whole(budget.spent) end
return reply
