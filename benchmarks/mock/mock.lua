-- A fake OpenAI and Anthropic: answers at once, and streams at the pace that the prompt asks for.
--
-- A prompt that holds `pace=60x20` gets 60 chunks, one every 20 ms, where a stream is asked for.
-- Where none is, one that holds `megabytes=10.` gets a reply of that size.
-- Each chunk carries the moment at which it was sent, in microseconds of CLOCK_MONOTONIC, as
-- `@123456@`: a client on the same machine reads from it how long that chunk was under way.
--
-- A chunk is printed as a table of parts, never as one joined string: LuaJIT interns strings by
-- a hash of a sample of their bytes, and long strings that differ in a few digits collide.

local ffi = require "ffi"

ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } patchbay_bench_time;
int clock_gettime(int clock, patchbay_bench_time *time);
]]

local CLOCK_MONOTONIC = 1
local time = ffi.new("patchbay_bench_time")

local function stamp()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return string.format("%.0f", tonumber(time.seconds) * 1000000 + math.floor(tonumber(time.nanoseconds) / 1000))
end

local TEXT = string.rep("A proxy that nobody notices is a good proxy. ", 16)

local OPENAI_REPLY = '{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qJKcT","object":"chat.completion","created":1760000000,'
    .. '"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"' .. TEXT
    .. '","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":180,'
    .. '"completion_tokens":160,"total_tokens":340,"prompt_tokens_details":{"cached_tokens":0}},'
    .. '"system_fingerprint":"fp_bench"}'

local ANTHROPIC_REPLY = '{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant",'
    .. '"model":"claude-sonnet-4-5","content":[{"type":"text","text":"' .. TEXT
    .. '"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":180,'
    .. '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":160}}'

local OPENAI = {
    reply = OPENAI_REPLY,
    opening = 'data: {"id":"chatcmpl-bench1","object":"chat.completion.chunk","created":1760000000,'
        .. '"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        .. '"finish_reason":null}],"usage":null}\n\n',
    before = 'data: {"id":"chatcmpl-bench1","object":"chat.completion.chunk","created":1760000000,'
        .. '"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"word @',
    after = '@"},"finish_reason":null}],"usage":null}\n\n',
    closing = 'data: {"id":"chatcmpl-bench1","object":"chat.completion.chunk","created":1760000000,'
        .. '"model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
        .. 'data: {"id":"chatcmpl-bench1","object":"chat.completion.chunk","created":1760000000,'
        .. '"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":180,"completion_tokens":60,'
        .. '"total_tokens":240}}\n\ndata: [DONE]\n\n',
}

local ANTHROPIC = {
    reply = ANTHROPIC_REPLY,
    opening = 'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_bench1",'
        .. '"type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,'
        .. '"stop_sequence":null,"usage":{"input_tokens":180,"output_tokens":1}}}\n\n'
        .. 'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        .. '"content_block":{"type":"text","text":""}}\n\n',
    before = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        .. '"delta":{"type":"text_delta","text":"word @',
    after = '@"}}\n\n',
    closing = 'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        .. 'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
        .. '"stop_sequence":null},"usage":{"output_tokens":60}}\n\n'
        .. 'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}

local function stream(dialect, count, milliseconds)
    ngx.header["content-type"] = "text/event-stream"
    ngx.print(dialect.opening)
    ngx.flush(false)
    local started = ngx.now()
    local parts = { dialect.before, "", dialect.after }
    for i = 1, count do
        ngx.update_time()
        local wait = started + i * milliseconds / 1000 - ngx.now()
        if wait >= 0.001 then
            ngx.sleep(wait)
        end
        parts[2] = stamp()
        -- Waits while the reader is slower. What is printed without waiting is held in a list that
        -- each print walks: the mock would spend its time on that, and chunks come in ever larger lumps.
        if not ngx.print(parts) or not ngx.flush(true) then
            return
        end
    end
    ngx.print(dialect.closing)
end

local MEGABYTE = string.rep("A proxy that nobody notices is a good one. ", 24385)

-- The same reply with a text of megabytes in place of its own.
local function large_reply(dialect, megabytes)
    local before, after = string.match(dialect.reply, "^(.-)" .. TEXT .. "(.*)$")
    ngx.header["content-length"] = #before + megabytes * #MEGABYTE + #after
    ngx.print(before)
    for _ = 1, megabytes do
        ngx.print(MEGABYTE)
    end
    ngx.print(after)
end

local function answer(dialect)
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    if string.find(body, '"stream": ?true') then
        local count, milliseconds = string.match(body, "pace=(%d+)x(%d+)")
        return stream(dialect, tonumber(count or 10), tonumber(milliseconds or 0))
    end
    ngx.header["content-type"] = "application/json"
    local megabytes = tonumber(string.match(body, "megabytes=(%d+)") or 0)
    if megabytes > 0 then
        return large_reply(dialect, megabytes)
    end
    ngx.header["content-length"] = #dialect.reply
    ngx.print(dialect.reply)
end

return {
    openai = function() answer(OPENAI) end,
    anthropic = function() answer(ANTHROPIC) end,
}
