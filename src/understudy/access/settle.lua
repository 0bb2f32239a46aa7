-- A call has ended: its lease goes, its tokens are corrected, what was set aside becomes what was spent. See shared.py.
-- Sent twice, it changes nothing the second time.
--
-- KEYS as for admit.lua; ARGV: lease, `lease` or `book` (a call that was admitted without this server),
--       number of windows, number of budgets,
--       for each window: time of admission and slot width in microseconds, what to add;
--       for each budget: what was set aside, what was spent (-1: unknown), 1 if nobody knew its price,
--                        what was known to be spent, seconds to keep it.
-- Gives for each budget: spent before and after; nothing if the lease is not there.

local SLOTS = 100
local SIZE = SLOTS + 1
local lease, windows, budgets = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local booked = ARGV[2] == 'book'

local function whole(number) return string.format('%.0f', number) end

if booked then
  if not redis.call('SET', KEYS[1] .. ':' .. lease, '1', 'NX', 'EX', 3600) then return {} end
elseif redis.call('ZREM', KEYS[1], lease) == 0 then
  return {}
end

for index = 1, windows do
  local key, at = KEYS[1 + index], 4 + (index - 1) * 3
  local width, add = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local slot, last = math.floor(tonumber(ARGV[at + 1]) / width), tonumber(redis.call('HGET', key, 'l') or '-1000')
  if add ~= 0 and slot <= last and last - slot <= SLOTS then
    local place = whole(slot % SIZE)
    add = math.max(add, -tonumber(redis.call('HGET', key, place) or '0'))
    redis.call('HINCRBY', key, place, whole(add))
    redis.call('HINCRBY', key, 'u', whole(add))
  end
end

local reply = {}
for index = 1, budgets do
  local key, held = KEYS[1 + windows + index * 2 - 1], KEYS[1 + windows + index * 2]
  local at = 4 + windows * 3 + (index - 1) * 5
  local part, used = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local before, after = 0, 0
  if booked or redis.call('ZREM', held, lease .. ':' .. whole(part)) == 1 then
    if not booked then redis.call('HINCRBY', key, 'r', whole(-part)) end
    if used < 0 then used = part end
    local known = tonumber(ARGV[at + 4])
    if tonumber(redis.call('HGET', key, 's') or '0') < known then redis.call('HSET', key, 's', whole(known)) end
    after = redis.call('HINCRBY', key, 's', whole(used))
    before = after - used
    if ARGV[at + 3] == '1' then redis.call('HINCRBY', key, 'n', 1) end
    redis.call('EXPIRE', key, ARGV[at + 5])
  end
  reply[#reply + 1] = whole(before)
  reply[#reply + 1] = whole(after)
end
return reply
