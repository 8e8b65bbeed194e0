"""Files and batches as Lua for Redis; see `redis_scripts`.

Above: `redis_files`, `redis_batches`. An index lists the ids of an owner in the order of their
making. Records whose time is over leave it when somebody walks through it.
"""

from __future__ import annotations

from typing import Final

from chorus.storage.redis_scripts import NOW

# --- files. KEYS: the file, its pieces by number, the owner's index. ARGV: what the owner's files
# begin with, TTL in ms, ...

_FILE: Final = (
    NOW
    + """
local file, pieces, index, prefix, ttl_ms = KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2])
local function held()
  local count, bytes = 0, 0
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local size = redis.call('HGET', prefix .. id, 'size')
    if size then
      count, bytes = count + 1, bytes + size
    else
      redis.call('ZREM', index, id)
    end
  end
  return count, bytes
end
"""
)
CREATE_FILE: Final = (
    _FILE
    + """
if held() >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', file, 'owner', ARGV[4], 'id', ARGV[5], 'purpose', ARGV[6], 'name', ARGV[7],
  'size', 0, 'created_at', now, 'expires_at', now, 'is_ready', 0, 'last', -1)
redis.call('ZADD', index, redis.call('INCR', 'chorus:files:last'), ARGV[5])
keep(file, ttl_ms)
return 1
"""
)
"""More ARGV: most files, owner, id, purpose, name. Returns 0 where there are too many."""
ADD_PIECE: Final = (
    _FILE
    + """
if redis.call('EXISTS', file) == 0 then return -1 end
local _, bytes = held()
if bytes + #ARGV[5] > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', pieces, ARGV[4], ARGV[5])
redis.call('HINCRBY', file, 'size', #ARGV[5])
redis.call('HSET', file, 'last', math.max(ARGV[4], redis.call('HGET', file, 'last')))
keep(file, ttl_ms)
keep(pieces, ttl_ms)
return 1
"""
)
"""More ARGV: most bytes, number, data.

Returns 0 where there are too many, -1 where the file is gone.
"""
FINISH_FILE: Final = (
    _FILE
    + """
if redis.call('EXISTS', file) == 0 then return {} end
redis.call('HSET', file, 'is_ready', 1, 'created_at', now, 'expires_at', string.format('%.6f', now + ttl_ms / 1000))
keep(file, ttl_ms)
keep(pieces, ttl_ms)
return redis.call('HGETALL', file)
"""
)
PAGE_FILES: Final = (
    _FILE
    + """
local limit, reverse, purpose, first, page = tonumber(ARGV[3]), ARGV[4] == 'desc', ARGV[5], 0, {0}
if #ARGV > 5 then
  local rank = redis.call(reverse and 'ZREVRANK' or 'ZRANK', index, ARGV[6])
  if not rank or redis.call('HGET', prefix .. ARGV[6], 'is_ready') ~= '1' then return 0 end
  first = rank + 1
end
for _, id in ipairs(redis.call(reverse and 'ZREVRANGE' or 'ZRANGE', index, first, -1)) do
  local state = redis.call('HMGET', prefix .. id, 'is_ready', 'purpose')
  if state[1] == '1' and (purpose == '' or state[2] == purpose) then
    if #page > limit then
      page[1] = 1
      break
    end
    page[#page + 1] = redis.call('HGETALL', prefix .. id)
  end
end
return page
"""
)
"""More ARGV: limit, order, purpose ('' for any), the file before. Returns 0 where that is gone."""
READ_FILE: Final = (
    _FILE
    + """
local state = redis.call('HMGET', file, 'is_ready', 'last')
if state[1] ~= '1' then return {} end
local part, size = {-1}, 0
for number = tonumber(ARGV[3]), tonumber(state[2]) do
  local piece = redis.call('HGET', pieces, number)
  if piece then
    if size >= tonumber(ARGV[4]) or #part > tonumber(ARGV[5]) then
      part[1] = number
      break
    end
    part[#part + 1] = piece
    size = size + #piece
  end
end
return part
"""
)
"""More ARGV: first number, bytes, pieces. Returns the next number (-1 at the end), and pieces."""
DELETE_FILE: Final = (
    _FILE
    + """
redis.call('ZREM', index, ARGV[3])
redis.call('DEL', pieces)
return redis.call('DEL', file)
"""
)
"""More ARGV: id."""

# --- batches. KEYS: the batch, ... Those that are not over are in `chorus:open_batches` by their
# age.

_BATCH: Final = (
    NOW
    + """
local open = 'chorus:open_batches'
local function is_open(key)
  local status = redis.call('HGET', key, 'status')
  return status == 'validating' or status == 'in_progress' or status == 'finalizing'
end
local function lease(key, secs)
  redis.call('HSET', key, 'leased_until', string.format('%.6f', now + secs))
end
local function is_leased(key, process)
  return redis.call('HGET', key, 'process') == process and is_open(key)
end
"""
)
CREATE_BATCH: Final = (
    _BATCH
    + """
local index, prefix = KEYS[2], ARGV[1]
local ids = redis.call('ZRANGE', index, 0, -1)
local left, going_on = #ids, 0
for _, id in ipairs(ids) do
  local key = prefix .. id
  if is_open(key) then
    going_on = going_on + 1
  elseif left >= tonumber(ARGV[4]) or redis.call('EXISTS', key) == 0 then
    redis.call('DEL', key)
    redis.call('ZREM', index, id)
    left = left - 1
  end
end
if going_on >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'leased_until', 0, unpack(ARGV, 6))
keep(KEYS[1], ARGV[2])
local number = redis.call('INCR', 'chorus:batches:last')
redis.call('ZADD', index, number, ARGV[5])
redis.call('ZADD', open, number, KEYS[1])
return 1
"""
)
"""KEYS: the batch, the owner's index.

ARGV: what the owner's batches begin with, TTL in ms, most that are not over, most in all, id, the
fields. Returns 0 where there are too many.
"""
PAGE_BATCHES: Final = """
local index, prefix, limit, first, page = KEYS[1], ARGV[1], tonumber(ARGV[2]), 0, {0}
if #ARGV > 2 then
  local rank = redis.call('ZREVRANK', index, ARGV[3])
  if not rank or redis.call('EXISTS', prefix .. ARGV[3]) == 0 then return 0 end
  first = rank + 1
end
for _, id in ipairs(redis.call('ZREVRANGE', index, first, -1)) do
  local batch = redis.call('HGETALL', prefix .. id)
  if #batch > 0 then
    if #page > limit then
      page[1] = 1
      break
    end
    page[#page + 1] = batch
  end
end
return page
"""
"""KEYS: the owner's index. ARGV: what the owner's batches begin with, limit, the batch before.
Returns 0 where that is gone."""
CANCEL_BATCH: Final = (
    _BATCH
    + """
if is_open(KEYS[1]) and tonumber(redis.call('HGET', KEYS[1], 'cancelling_at')) == 0 then
  redis.call('HSET', KEYS[1], 'cancelling_at', now)
end
return redis.call('HGETALL', KEYS[1])
"""
)
CLAIM_BATCH: Final = (
    _BATCH
    + """
for _, key in ipairs(redis.call('ZRANGE', open, 0, -1)) do
  if not is_open(key) then
    redis.call('ZREM', open, key)
  elseif tonumber(redis.call('HGET', key, 'leased_until')) < tonumber(now) then
    redis.call('HSET', key, 'process', ARGV[1])
    lease(key, ARGV[2])
    return redis.call('HGETALL', key)
  end
end
return {}
"""
)
"""ARGV: process, lease in s."""
RENEW_BATCHES: Final = (
    _BATCH
    + """
local batches = {}
for _, key in ipairs(redis.call('ZRANGE', open, 0, -1)) do
  if is_leased(key, ARGV[1]) then
    lease(key, ARGV[2])
    batches[#batches + 1] = redis.call('HGETALL', key)
  end
end
return batches
"""
)
"""ARGV: process, lease in s."""
RELEASE_BATCHES: Final = (
    _BATCH
    + """
for _, key in ipairs(redis.call('ZRANGE', open, 0, -1)) do
  if is_leased(key, ARGV[1]) then redis.call('HSET', key, 'process', '', 'leased_until', 0) end
end
return 1
"""
)
"""ARGV: process."""
UPDATE_BATCH: Final = (
    _BATCH
    + """
if not is_leased(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'total', ARGV[3], 'value', ARGV[4])
return 1
"""
)
"""KEYS: the batch. ARGV: process, status, total, value."""
RECORD_LINES: Final = (
    _BATCH
    + """
local batch, index = KEYS[1], KEYS[2]
if not is_leased(batch, ARGV[1]) then return 0 end
local owner, id = unpack(redis.call('HMGET', batch, 'owner', 'id'))
local ends = {{KEYS[3], KEYS[4], 'output'}, {KEYS[5], KEYS[6], 'error'}}
for i = 4, #ARGV, 7 do
  local number, is_error, data = ARGV[i], ARGV[i + 1] == '1', ARGV[i + 2]
  if redis.call('HEXISTS', KEYS[4], number) == 0 and redis.call('HEXISTS', KEYS[6], number) == 0 then
    local file, pieces, kind = unpack(ends[is_error and 2 or 1])
    if redis.call('EXISTS', file) == 0 then
      local file_id = redis.call('HGET', batch, kind .. '_file')
      redis.call('HSET', file, 'owner', owner, 'id', file_id, 'purpose', 'batch_output',
        'name', id .. '_' .. kind .. '.jsonl', 'size', 0, 'created_at', now, 'expires_at', now, 'is_ready', 0, 'last', -1)
      redis.call('ZADD', index, redis.call('INCR', 'chorus:files:last'), file_id)
      keep(file, ARGV[3])
    end
    redis.call('HSET', pieces, number, data)
    keep(pieces, ARGV[3])
    redis.call('HINCRBY', file, 'size', #data)
    redis.call('HSET', file, 'last', math.max(number, redis.call('HGET', file, 'last')))
    redis.call('HINCRBY', batch, is_error and 'failed' or 'completed', 1)
    for kind, name in ipairs({'input_tokens', 'cached_tokens', 'output_tokens', 'reasoning_tokens'}) do
      redis.call('HINCRBY', batch, name, ARGV[i + 2 + kind])
    end
  end
end
lease(batch, ARGV[2])
return 1
"""
)
"""KEYS: the batch, the owner's index of files, the output file and its pieces, the error file and
its pieces. ARGV: process, lease in s, TTL in ms, and number, 1 for an error, data, and four counts
of tokens of each line.
"""
FINISH_BATCH: Final = (
    _BATCH
    + """
if not is_leased(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'value', ARGV[3], 'process', '')
redis.call('ZREM', open, KEYS[1])
for i = 2, 4, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('HSET', KEYS[i], 'is_ready', 1, 'created_at', now, 'expires_at', string.format('%.6f', now + ARGV[4] / 1000))
    keep(KEYS[i], ARGV[4])
    keep(KEYS[i + 1], ARGV[4])
  end
end
return 1
"""
)
"""KEYS: the batch, the output file and its pieces, the error file and its pieces. ARGV: process,
status, value, TTL of the files in ms."""
