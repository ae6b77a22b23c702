-- Send the requests of a file in turn, over and over; say as one line of JSON how that went.
-- The file returns `requests`, and `marker` if every answer is to be looked at: it must be in each.

local given, turn, threads = nil, 0, {}
bad = 0

local function look(status, headers, body)
   if status ~= 200 or not string.find(body, given.marker, 1, true) then
      bad = bad + 1
   end
end

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   given = dofile(arguments[1])
   if given.marker then
      response = look -- parsing every answer costs the generator; it is not done while speed is measured
   end
end

function request()
   turn = turn % #given.requests + 1
   return given.requests[turn]
end

function done(summary, latency, requests)
   local wrong = 0
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("bad")
   end
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": ' ..
      '{"wrong": %d, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      wrong, errors.status, errors.connect, errors.read, errors.write, errors.timeout
   ))
end
