"""What Redis runs in one step, as Lua.

Above: `redis_conversations`, `redis_records`. A script names keys that it does not get, so that it
needs one Redis (or a Sentinel's), not a cluster; the keys of `session:<id>` have no common node
anyway. All scripts use the clock of Redis, which is the same for all hosts. A script returns false,
which is None in Python, where there is no such record.
"""

from __future__ import annotations

from typing import Final

NOW: Final = """
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local function keep(key, ttl_ms)
  if tonumber(ttl_ms) > 0 then redis.call('PEXPIRE', key, ttl_ms) end
end
"""
"""The begin of a script: the clock, and a record's end. For `redis_batch_scripts`, too."""

# --- conversations. KEYS: session:<id>, its items in order, their texts. ARGV: owner, TTL in ms,
# ... `index` in the session is the key of its user's sessions.

_SESSION: Final = (
    NOW
    + """
local session, order, texts = KEYS[1], KEYS[2], KEYS[3]
local owner, ttl_ms = ARGV[1], tonumber(ARGV[2])
local function changed()
  local index = redis.call('HGET', session, 'index')
  redis.call('HSET', session, 'updated_at', now)
  redis.call('ZADD', index, now, redis.call('HGET', session, 'id'))
  for _, key in ipairs({session, order, texts, index}) do keep(key, ttl_ms) end
  if ttl_ms > 0 then redis.call('ZREMRANGEBYSCORE', index, '-inf', now - ttl_ms / 1000) end
  return redis.call('HGETALL', session)
end
local function add(first)
  for i = first, #ARGV, 2 do
    if not redis.call('ZSCORE', order, ARGV[i]) then
      redis.call('ZADD', order, redis.call('HINCRBY', session, 'seq', 1), ARGV[i])
    end
    redis.call('HSET', texts, ARGV[i], ARGV[i + 1])
  end
end
"""
)
_OWNED: Final = (
    _SESSION
    + """
if redis.call('HGET', session, 'owner') ~= owner then return false end
"""
)

CREATE: Final = (
    _SESSION
    + """
if redis.call('EXISTS', session) == 1 then return false end
redis.call('HSET', session, 'owner', owner, 'id', ARGV[3], 'user', ARGV[4], 'index', ARGV[5],
  'metadata', ARGV[6], 'created_at', now, 'title', '', 'turns', 0)
add(7)
return changed()
"""
)
APPEND: Final = (
    _OWNED
    + """
local is_repeated = #ARGV > 4 and redis.call('ZSCORE', order, ARGV[#ARGV - 1])
if not is_repeated then redis.call('HINCRBY', session, 'turns', ARGV[3]) end
if redis.call('HGET', session, 'title') == '' then redis.call('HSET', session, 'title', ARGV[4]) end
add(5)
return changed()
"""
)
UPDATE: Final = (
    _OWNED
    + """
if redis.call('HGET', session, 'metadata') ~= ARGV[3] then return 0 end
redis.call('HSET', session, 'metadata', ARGV[4])
return changed()
"""
)
DELETE: Final = (
    _OWNED
    + """
redis.call('ZREM', redis.call('HGET', session, 'index'), redis.call('HGET', session, 'id'))
return redis.call('DEL', session, order, texts)
"""
)
DELETE_ITEM: Final = (
    _OWNED
    + """
if redis.call('ZREM', order, ARGV[3]) == 0 then return 0 end
redis.call('HDEL', texts, ARGV[3])
return changed()
"""
)
ITEM: Final = (
    _OWNED
    + """
return redis.call('HGET', texts, ARGV[3])
"""
)
PAGE: Final = (
    _OWNED
    + """
local limit, first, reverse = tonumber(ARGV[4]), 0, ARGV[3] == 'desc'
if #ARGV > 4 then
  local rank = redis.call(reverse and 'ZREVRANK' or 'ZRANK', order, ARGV[5])
  if not rank then return 0 end
  first = rank + 1
end
local ids = redis.call(reverse and 'ZREVRANGE' or 'ZRANGE', order, first, first + limit)
local page = {#ids > limit and 1 or 0}
for i = 1, math.min(#ids, limit) do
  page[2 * i] = ids[i]
  page[2 * i + 1] = redis.call('HGET', texts, ids[i])
end
return page
"""
)
RECENT: Final = """
local index, limit, first, sessions = KEYS[1], tonumber(ARGV[1]), 0, {}
while #sessions < limit do
  local ids = redis.call('ZREVRANGE', index, first, first + limit - 1)
  if #ids == 0 then break end
  first = first + #ids
  for _, id in ipairs(ids) do
    local session = redis.call('HGETALL', 'session:' .. id)
    if #session == 0 then
      redis.call('ZREM', index, id)
      first = first - 1
    elseif #sessions < limit then
      sessions[#sessions + 1] = session
    end
  end
end
return sessions
"""
"""KEYS: a user's sessions. ARGV: limit. Sessions whose time is over leave the list."""

# --- records that are changed from what they are

SWAP: Final = (
    NOW
    + """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
keep(KEYS[1], ARGV[1])
return 1
"""
)
"""ARGV: TTL in ms, the text before ('' for none), the text after. Returns 0 where it is another."""

# --- background runs

_RUN: Final = (
    NOW
    + """
local function is_lost(key)
  return redis.call('HGET', key, 'status') == 'in_progress'
    and tonumber(redis.call('HGET', key, 'leased_until')) < tonumber(now)
end
local function lease(key, secs)
  redis.call('HSET', key, 'leased_until', string.format('%.6f', now + secs))
end
"""
)
START: Final = (
    _RUN
    + """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[3], 'id', ARGV[4], 'process', ARGV[5], 'value', ARGV[6],
  'status', 'in_progress', 'reason', '', 'is_cancel_requested', 0)
lease(KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], KEYS[1])
keep(KEYS[1], ARGV[1])
keep(KEYS[2], ARGV[1])
return 1
"""
)
"""KEYS: the run, the runs of its process.

ARGV: TTL in ms, lease in s, owner, id, process, value.
"""
RUN: Final = (
    _RUN
    + """
if ARGV[1] == 'cancel' and redis.call('HGET', KEYS[1], 'status') == 'in_progress' then
  redis.call('HSET', KEYS[1], 'is_cancel_requested', 1)
end
return {is_lost(KEYS[1]) and 1 or 0, redis.call('HGETALL', KEYS[1])}
"""
)
"""KEYS: the run. ARGV: `cancel` to ask for its end."""
FINISH: Final = (
    _RUN
    + """
local status, process = unpack(redis.call('HMGET', KEYS[1], 'status', 'process'))
if status ~= 'in_progress' or process ~= ARGV[2] or is_lost(KEYS[1]) then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[3])
redis.call('SREM', KEYS[2], KEYS[1])
keep(KEYS[1], ARGV[1])
return 1
"""
)
"""KEYS: the run, the runs of the process. ARGV: TTL in ms, process, status."""
RENEW: Final = (
    _RUN
    + """
local stop = {}
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local status, process, owner, id, asked =
    unpack(redis.call('HMGET', key, 'status', 'process', 'owner', 'id', 'is_cancel_requested'))
  local is_ours = status == 'in_progress' and process == ARGV[4]
  local is_over = is_ours and is_lost(key)
  if is_over then redis.call('HSET', key, 'status', 'failed', 'reason', ARGV[3]) end
  if is_over or (is_ours and asked == '1') then stop[#stop + 1] = {owner, id} end
  if is_ours and not is_over then
    lease(key, ARGV[2])
    keep(key, ARGV[1])
  else
    redis.call('SREM', KEYS[1], key)
  end
end
keep(KEYS[1], ARGV[1])
return stop
"""
)
"""KEYS: the runs of a process. ARGV: TTL in ms, lease in s, why a run whose lease is over failed,
process. Returns owner and id of the runs to stop."""

# --- traces. A member is the owner, a colon and the id; its trace is `chorus:trace:` and the
# member.

PUT_TRACE: Final = (
    NOW
    + """
local order, sizes, total = 'chorus:traces', 'chorus:traces:sizes', 'chorus:traces:bytes'
local ttl_ms, max_records, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function forget(gone)
  redis.call('DEL', 'chorus:trace:' .. gone)
  if redis.call('ZREM', order, gone) == 1 then
    redis.call('DECRBY', total, redis.call('HGET', sizes, gone))
    redis.call('HDEL', sizes, gone)
  end
end
for first = 4, #ARGV, 6 do
  local member, size, owner, id, events, requests = unpack(ARGV, first, first + 5)
  forget(member)
  local key = 'chorus:trace:' .. member
  redis.call('HSET', key, 'owner', owner, 'id', id, 'events', events, 'requests', requests)
  keep(key, ttl_ms)
  redis.call('ZADD', order, redis.call('INCR', 'chorus:traces:last'), member)
  redis.call('HSET', sizes, member, size)
  redis.call('INCRBY', total, size)
end
while true do
  local oldest = redis.call('ZRANGE', order, 0, 0)[1]
  if not oldest then break end
  local many = max_records >= 0 and redis.call('ZCARD', order) > max_records
  local large = max_bytes >= 0 and tonumber(redis.call('GET', total)) > max_bytes
  if not many and not large and redis.call('EXISTS', 'chorus:trace:' .. oldest) == 1 then break end
  forget(oldest)
end
return 1
"""
)
"""ARGV: TTL in ms, most traces (-1: any), most bytes; for each trace its member, size, owner, id,
events and requests."""
FIND_TRACES: Final = """
local limit, found = tonumber(ARGV[1]), {}
for _, member in ipairs(redis.call('ZREVRANGE', 'chorus:traces', 0, -1)) do
  if #found == limit then break end
  local key = 'chorus:trace:' .. member
  local is_wanted = string.sub(member, 1, #ARGV[2]) == ARGV[2]
  if is_wanted and ARGV[3] ~= '' then is_wanted = redis.call('HGET', key, 'id') == ARGV[3] end
  if is_wanted then
    local fields = redis.call('HMGET', key, unpack(ARGV, 4))
    if fields[1] then found[#found + 1] = fields end
  end
end
return found
"""
"""ARGV: limit, what a member begins with, its id ('' for any), the fields to return, of which the
first must be there. Newest first."""
