-- One login at one bucket, as `Bucket::admit` has it in `limits.rs`: the same arithmetic on the same kind of numbers.
-- KEYS: the bucket. ARGV: logins leaked in a second, logins held, 1 to count, and a time in seconds or nothing for now.
-- Returns -1 if the login is let through, else for how many milliseconds to wait.
local per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(ARGV[4])
if not now then
  -- The clock of Redis, because those of several edges differ.
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local start, count = now, 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local kept_start, kept_count = string.match(kept, '^(%S+) (%S+)$')
  start, count = tonumber(kept_start) or now, tonumber(kept_count) or 0
end
-- A clock that was set back must not keep anybody out for as long as that.
if now < start then start = now end
local level = count - (now - start) * per_second
if level < 0 then
  level, start, count = 0, now, 0
end
if level > burst - 1 then
  local allowed = start + (count - burst + 1) / per_second
  return math.floor(1000 * (math.max(allowed, now) - now))
end
if ARGV[3] == '1' then
  count = count + 1
  -- A bucket that has drained is the same as none. The second on top leaves it to the arithmetic when that is, and the
  -- bound is one of Redis's.
  local drained = math.ceil(1000 * (start + count / per_second - now)) + 1000
  redis.call('SET', KEYS[1], string.format('%.17g %d', start, count), 'PX', math.min(drained, 1000000000000))
end
return -1
