#!/usr/bin/env python3
"""Writes the llm-* cases of tests/wire/http1: one exchange for each provider and mode, byte for byte as the provider's own
documentation gives them (heads shortened to what matters). `make golden` writes what they should yield; read the diff.

    llm.py [NAME…]
"""
import base64, gzip, json, os, struct, sys, zlib

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "http1")
CASES = {}


def case(fn):
    CASES["llm-" + fn.__name__.replace("_", "-")] = fn
    return fn


def escape(data: bytes) -> str:
    out = []
    for i, b in enumerate(data):
        if b == 0x5C:
            out.append("\\\\")
        elif b in (13, 10, 9):
            out.append({13: "\\r", 10: "\\n", 9: "\\t"}[b])
        elif 32 < b < 127 or (b == 32 and i not in (0, len(data) - 1)):
            out.append(chr(b))
        else:
            out.append("\\x%02x" % b)
    return "".join(out)


def dumps(o) -> bytes:
    return json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode()


def post(path, host, body, *fields):
    body = body if isinstance(body, bytes) else dumps(body)
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", *fields, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answer(body, *fields, status="200 OK", type="application/json"):
    body = body if isinstance(body, bytes) else dumps(body)
    head = [f"HTTP/1.1 {status}", f"Content-Type: {type}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def streamed(*fields, type="text/event-stream; charset=utf-8"):
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {type}", *fields, "Transfer-Encoding: chunked"]).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def sse(o, event=None) -> bytes:
    return (f"event: {event}\n" if event else "").encode() + b"data: " + (o if isinstance(o, bytes) else dumps(o)) + b"\n\n"


LAST = b"0\r\n\r\n"


class Case(list):
    """Lines of a capture. Each call comes 20 ms after the one before."""

    def __init__(self, *remarks):
        super().__init__("# " + r for r in remarks)
        self.clock = 1000

    def call(self, mark, data):
        self.append(f"@{self.clock}")
        self.append(f"{mark} {escape(data)}")
        self.clock += 20000
        return self

    def ask(self, data):
        return self.call(">", data)

    def get(self, *calls):
        for data in calls:
            self.call("<", data)
        return self


# ---- OpenAI: https://platform.openai.com/docs/api-reference ----

OPENAI = "api.openai.com"
OPENAI_USAGE = {
    "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
}
OPENAI_LIMITS = (
    "x-request-id: req_4f1a", "x-ratelimit-limit-requests: 10000", "x-ratelimit-limit-tokens: 200000",
    "x-ratelimit-remaining-requests: 9999", "x-ratelimit-remaining-tokens: 199970", "x-ratelimit-reset-requests: 8.64s",
    "x-ratelimit-reset-tokens: 9ms")
MESSAGES = [{"role": "developer", "content": "You are a helpful assistant."}, {"role": "user", "content": "Say \"Hello!\" \\ é 😀"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"model": {"type": "string"}}}}}]


def completion(message, finish, **more):
    return {"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": OPENAI_USAGE, "service_tier": "default", "system_fingerprint": "fp_44709d6fcb", **more}


@case
def openai_chat():
    return Case("OpenAI, chat completions").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "max_completion_tokens": 100, "n": 1, "seed": 7, "temperature": 0.2,
        "top_p": 0.9}, "X-Stainless-Retry-Count: 0", "User-Agent: OpenAI/Python 2.0")).get(
        answer(completion({"role": "assistant", "content": "Hello! How can I help?", "refusal": None}, "stop"), *OPENAI_LIMITS))


def delta(d, finish=None, **more):
    return sse({"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190, "model": "gpt-4o-mini-2024-07-18",
                "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
                "choices": [{"index": 0, "delta": d, "logprobs": None, "finish_reason": finish}], **more})


@case
def openai_chat_stream():
    usage = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190, "model": "gpt-4o-mini-2024-07-18",
             "choices": [], "usage": OPENAI_USAGE}
    return Case("OpenAI, chat completions, streamed, with usage").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "stream": True, "stream_options": {"include_usage": True}})).get(
        streamed(*OPENAI_LIMITS), chunk(delta({"role": "assistant", "content": "", "refusal": None}, usage=None)),
        chunk(delta({"content": "Hel"}, usage=None) + delta({"content": "lo"}, usage=None)), chunk(delta({"content": "!"}, usage=None)),
        chunk(delta({}, "stop", usage=None)), chunk(sse(usage)) + chunk(sse(b"[DONE]")) + LAST)


@case
def openai_chat_chunk_events():
    c = openai_chat_stream()
    c[0] = "# OpenAI, streamed, each piece an event: four at most, of five; nothing of a second answer that isn't streamed"
    c.insert(1, ": chunks 4")
    more = post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini", "stream": True})
    return c.ask(more).get(
        streamed(), chunk(delta({"content": "Hel"}) + delta({"content": "lo"})), chunk(delta({"content": "\u00e9\U0001f600"})),
        chunk(delta({"reasoning_content": "so"})), chunk(delta({"content": "!"})), chunk(delta({}, "stop")) + chunk(sse(b"[DONE]")) + LAST
    ).ask(post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini"})).get(
        answer(completion({"role": "assistant", "content": "Hello!"}, "stop")))


@case
def bedrock_converse_chunk_events():
    c = bedrock_converse_stream()
    c[0] += ", each piece an event"
    c.insert(1, ": chunks 1000")
    return c


@case
def openai_chat_tools_stream():
    call = {"index": 0, "id": "call_abc123", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    second = {"index": 1, "id": "call_def456", "type": "function", "function": {"name": "get_time", "arguments": ""}}
    more = lambda i, text: {"tool_calls": [{"index": i, "function": {"arguments": text}}]}
    return Case("OpenAI, tool calls in parallel, streamed").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o", "stream": True, "tools": TOOLS})).get(
        streamed(), chunk(delta({"role": "assistant", "content": None, "tool_calls": [call]})),
        chunk(delta(more(0, "{\"lo") ) + delta(more(0, "cation\":\"Paris\"}"))), chunk(delta({"tool_calls": [second]})),
        chunk(delta(more(1, "{}"))), chunk(delta({}, "tool_calls")), chunk(sse(b"[DONE]")) + LAST)


@case
def openai_chat_tool_loop():
    call = {"id": "call_abc123", "type": "function", "function": {"name": "get_weather", "arguments": "{\"location\":\"Paris\"}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    told = {"role": "tool", "tool_call_id": "call_abc123", "content": "{\"model\":\"not this one\"}"}
    return Case("OpenAI, a tool loop: two calls on one connection").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o", "tools": TOOLS})).get(answer(completion(said, "tool_calls"))).ask(
        post("/v1/chat/completions", OPENAI, {"messages": MESSAGES + [said, told], "model": "gpt-4o", "tools": TOOLS})).get(
        answer(completion({"role": "assistant", "content": "It is \"cold\"."}, "stop")))


LIMITED = {"error": {"message": "Rate limit reached for gpt-4o in organization org-1", "type": "tokens", "param": None,
                     "code": "rate_limit_exceeded"}}


@case
def openai_chat_retry():
    ask = {"messages": MESSAGES, "model": "gpt-4o-mini"}
    return Case("OpenAI, 429 and the SDK's second attempt").ask(
        post("/v1/chat/completions", OPENAI, ask, "x-stainless-retry-count: 0")).get(
        answer(LIMITED, "retry-after: 2", "retry-after-ms: 1500", "x-ratelimit-remaining-tokens: 0",
               status="429 Too Many Requests")).ask(
        post("/v1/chat/completions", OPENAI, ask, "x-stainless-retry-count: 1")).get(
        answer(completion({"role": "assistant", "content": "ok"}, "stop")))


@case
def openai_chat_cut():
    c = Case("OpenAI, the stream breaks in the middle").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "stream": True})).get(
        streamed(), chunk(delta({"role": "assistant", "content": ""})), chunk(delta({"content": "Hel"})),
        chunk(delta({"content": "lo"}))[:40])
    c.append("close 104")
    return c


@case
def openai_chat_done_unread():
    c = Case("OpenAI, the client leaves after the stream's last event and before the framing's end").ask(
        post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini", "stream": True})).get(
        streamed(), chunk(delta({"content": "Hel"})), chunk(delta({}, "stop")), chunk(sse(b"[DONE]")))
    c.append("close")
    return c


@case
def openai_chat_gzip():
    body = dumps(completion({"role": "assistant", "content": "Hello! How can I help?"}, "stop"))
    return Case("OpenAI, gzip both ways").ask(post("/v1/chat/completions", OPENAI, gzip.compress(dumps({
        "messages": MESSAGES, "model": "gpt-4o-mini"}), mtime=0), "Content-Encoding: gzip", "Accept-Encoding: gzip, deflate")).get(
        answer(gzip.compress(body, mtime=0), "Content-Encoding: gzip"))


@case
def openai_chat_deflate():
    body = dumps(completion({"role": "assistant", "content": "Hello! How can I help?"}, "stop"))
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    c = Case("OpenAI, deflate: zlib's format, and raw as some send it")
    for packed in (zlib.compress(body), raw.compress(body) + raw.flush()):
        c.ask(post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini"})).get(
            answer(packed, "Content-Encoding: deflate"))
    return c


@case
def openai_chat_br_zstd():
    import brotli, zstandard
    body = dumps(completion({"role": "assistant", "content": "Hello! How can I help?"}, "stop"))
    c = Case("OpenAI, brotli and zstd")
    for name, packed in (("br", brotli.compress(body)), ("zstd", zstandard.compress(body))):
        c.ask(post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini"})).get(
            answer(packed, "Content-Encoding: " + name))
    return c


@case
def openai_chat_gzip_stream():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    events = [delta({"content": "Hel"}), delta({"content": "lo"}), delta({}, "stop"), sse(b"[DONE]")]
    packed = [packer.compress(e) + packer.flush(zlib.Z_SYNC_FLUSH) for e in events] + [packer.flush()]
    return Case("OpenAI, a stream in gzip").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "stream": True})).get(
        streamed("Content-Encoding: gzip"), *[chunk(p) for p in packed], LAST)


@case
def openai_embeddings():
    return Case("OpenAI, embeddings").ask(post("/v1/embeddings", OPENAI, {
        "input": ["The food was delicious"], "model": "text-embedding-3-small", "encoding_format": "float", "dimensions": 4})).get(
        answer({"object": "list", "data": [{"object": "embedding", "embedding": [0.0023064255, -0.009327292, 1e-3, -5], "index": 0}],
                "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8}}))


@case
def openai_completions():
    return Case("OpenAI, the old completions").ask(post("/v1/completions", OPENAI, {
        "model": "gpt-3.5-turbo-instruct", "prompt": "Say this is a test", "max_tokens": 7, "temperature": 0})).get(
        answer({"id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7", "object": "text_completion", "created": 1589478378,
                "model": "gpt-3.5-turbo-instruct", "choices": [{"text": "\n\nThis is indeed a test", "index": 0, "logprobs": None,
                                                               "finish_reason": "length"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}))


AZURE = "myresource.openai.azure.com"
RESPONSE = {
    "id": "resp_67ccd2bed1ec8190b14f964abc054267", "object": "response", "created_at": 1741476542, "status": "completed", "error": None,
    "incomplete_details": None, "instructions": None, "max_output_tokens": None, "model": "o3-mini-2025-01-31",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {"id": "fc_67ca09c6", "type": "function_call", "status": "completed", "arguments": "{\"location\":\"Boston\"}",
         "call_id": "call_unLAR8MvFNptuiZK6K6HCy5k", "name": "get_current_weather"},
        {"type": "message", "id": "msg_67cc", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "Once upon a time", "annotations": []}]}],
    "parallel_tool_calls": True, "previous_response_id": None, "reasoning": {"effort": "medium", "summary": None}, "store": True,
    "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "top_p": 1.0, "truncation": "disabled",
    "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 12}, "output_tokens": 87,
              "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 123},
    "user": None, "metadata": {}}


@case
def openai_responses():
    return Case("OpenAI, responses, with a function call").ask(post("/v1/responses", OPENAI, {
        "model": "o3-mini", "input": "Tell me a story", "max_output_tokens": 500})).get(answer(RESPONSE))


@case
def openai_responses_stream():
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    item = RESPONSE["output"][1]
    event = lambda name, **more: sse({"type": name, **more}, name)
    return Case("OpenAI, responses, streamed").ask(post("/v1/responses", OPENAI, {
        "model": "o3-mini", "input": "Tell me a story", "stream": True})).get(
        streamed(), chunk(event("response.created", response=begun) + event("response.in_progress", response=begun)),
        chunk(event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "arguments": ""})),
        chunk(event("response.function_call_arguments.delta", item_id="fc_67ca09c6", output_index=0, delta="{\"location\"")),
        chunk(event("response.function_call_arguments.done", item_id="fc_67ca09c6", output_index=0, arguments=item["arguments"])),
        chunk(event("response.output_item.done", output_index=0, item=item)),
        chunk(event("response.output_text.delta", item_id="msg_67cc", output_index=1, content_index=0, delta="Once upon")),
        chunk(event("response.output_text.delta", item_id="msg_67cc", output_index=1, content_index=0, delta=" a time")),
        chunk(event("response.completed", response=RESPONSE)) + LAST)


@case
def openai_responses_incomplete():
    return Case("OpenAI, responses, cut off by the limit").ask(post("/v1/responses", OPENAI, {
        "model": "gpt-4o", "input": "Tell me a story", "max_output_tokens": 16})).get(
        answer({**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "model": "gpt-4o-2024-08-06",
                "output": RESPONSE["output"][2:]}))


@case
def openai_responses_failed():
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    error = {"code": "server_error", "message": "The model failed to generate a response."}
    ask = post("/v1/responses", OPENAI, {"model": "o3-mini", "input": "Tell me a story", "stream": True})
    event = lambda name, **more: sse({"type": name, **more}, name)
    return Case("OpenAI, responses, streamed: one that failed, one that ends in an error event").ask(ask).get(
        streamed(), chunk(event("response.created", response=begun)),
        chunk(event("response.failed", response={**begun, "status": "failed", "error": error})) + LAST).ask(ask).get(
        streamed(), chunk(event("response.created", response=begun)),
        chunk(event("error", code="rate_limit_exceeded", message="Rate limit reached", param=None, sequence_number=1)) + LAST)


@case
def openai_chat_stream_error():
    return Case("A server of OpenAI's form: the stream begins with 200 and ends in an error").ask(post(
        "/v1/chat/completions", "inference.example:8000", {"messages": MESSAGES, "model": "my-llama", "stream": True})).get(
        streamed(), chunk(delta({"content": "Hel"})),
        chunk(sse({"error": {"message": "CUDA out of memory", "type": "InternalServerError", "param": None, "code": 500}})),
        chunk(sse(b"[DONE]")) + LAST)


@case
def azure_chat_stream():
    first = sse({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [
        {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]})
    return Case("Azure OpenAI, streamed: what the filter says comes first, without a model").ask(post(
        "/openai/deployments/my-gpt-4o/chat/completions?api-version=2024-10-21", AZURE, {
            "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}, "api-key: hidden")).get(
        streamed("apim-request-id: 2"), chunk(first), chunk(delta({"role": "assistant", "content": ""})), chunk(delta({"content": "Hi"})),
        chunk(delta({}, "content_filter")), chunk(sse({"choices": [], "model": "gpt-4o-mini-2024-07-18", "usage": OPENAI_USAGE}))
        + chunk(sse(b"[DONE]")) + LAST)


@case
def azure_embeddings_and_responses():
    return Case("Azure OpenAI, embeddings by deployment, responses by model").ask(post(
        "/openai/deployments/my-embedder/embeddings?api-version=2024-10-21", AZURE, {"input": ["a", "b"]}, "api-key: hidden")).get(
        answer({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}], "model": "text-embedding-3-large",
                "usage": {"prompt_tokens": 2, "total_tokens": 2}})).ask(post(
        "/openai/v1/responses", AZURE, {"model": "my-o3", "input": "Tell me a story"}, "api-key: hidden")).get(answer(RESPONSE))


@case
def azure_chat():
    return Case("Azure OpenAI: the deployment in the path").ask(post(
        "/openai/deployments/my-gpt-4o/chat/completions?api-version=2024-10-21", AZURE,
        {"messages": MESSAGES, "temperature": 0.5}, "api-key: hidden")).get(
        answer({**completion({"role": "assistant", "content": "Hi"}, "stop"), "model": "gpt-4o-2024-08-06",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}, "apim-request-id: 1",
               "x-ratelimit-remaining-requests: 99", "x-ratelimit-remaining-tokens: 9970"))


@case
def mistral_chat():
    return Case("Mistral").ask(post("/v1/chat/completions", "api.mistral.ai", {
        "model": "mistral-large-latest", "messages": MESSAGES[1:], "random_seed": 3, "max_tokens": 64})).get(
        answer({"id": "cmpl-e5cc70bb28c444948073e77776eb30ef", "object": "chat.completion", "model": "mistral-large-latest",
                "usage": {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50}, "created": 1702256327,
                "choices": [{"index": 0, "message": {"content": "x", "tool_calls": [{
                    "id": "D681PevKs", "function": {"name": "get_weather", "arguments": "{}"}, "index": 0}], "role": "assistant"},
                    "finish_reason": "tool_calls"}]}))


@case
def mistral_chat_stream():
    part = lambda d, finish=None, **more: sse({"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1702256327,
                                               "model": "mistral-small-latest", "choices": [{"index": 0, "delta": d, "finish_reason": finish}],
                                               **more})
    return Case("Mistral, streamed: usage with the last piece").ask(post("/v1/chat/completions", "api.mistral.ai", {
        "model": "mistral-small-latest", "messages": MESSAGES[1:], "stream": True})).get(
        streamed(), chunk(part({"role": "assistant", "content": ""})), chunk(part({"content": "Bon"})),
        chunk(part({"content": "jour"}, "stop", usage={"prompt_tokens": 16, "total_tokens": 18, "completion_tokens": 2})),
        chunk(sse(b"[DONE]")) + LAST)


# ---- Anthropic: https://docs.anthropic.com/en/api/messages ----

ANTHROPIC = "api.anthropic.com"
ANTHROPIC_HEAD = ("anthropic-version: 2023-06-01", "x-api-key: hidden")


@case
def anthropic_messages():
    return Case("Anthropic, messages, with cache and a tool").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-20241022", "max_tokens": 1024, "temperature": 0.7, "top_k": 40,
        "system": "Be brief", "messages": MESSAGES[1:], "stop_sequences": ["\n\nHuman:"]}, *ANTHROPIC_HEAD)).get(
        answer({"id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022",
                "content": [{"type": "text", "text": "I'll look."}, {"type": "tool_use", "id": "toolu_01D7FLrfh4GYq7yT1ULFeyMV",
                                                                    "name": "get_stock_price", "input": {"id": "^GSPC", "name": "x"}}],
                "stop_reason": "tool_use", "stop_sequence": None,
                "usage": {"input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 1800, "output_tokens": 93,
                          "service_tier": "standard"}},
               "request-id: req_018EeWyXxfu5pfWkrYcMdjWG", "anthropic-ratelimit-requests-limit: 50",
               "anthropic-ratelimit-requests-remaining: 49", "anthropic-ratelimit-requests-reset: 2026-11-21T07:00:00Z",
               "anthropic-ratelimit-input-tokens-limit: 40000", "anthropic-ratelimit-input-tokens-remaining: 39000",
               "anthropic-ratelimit-output-tokens-limit: 8000", "anthropic-ratelimit-output-tokens-remaining: 7900",
               "anthropic-ratelimit-tokens-limit: 48000", "anthropic-ratelimit-tokens-remaining: 46900"))


def anthropic_event(type, **more):
    return sse({"type": type, **more}, type)


ANTHROPIC_START = anthropic_event("message_start", message={
    "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message", "role": "assistant", "content": [],
    "model": "claude-3-5-sonnet-20241022", "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 25, "output_tokens": 1}})


@case
def anthropic_messages_stream():
    e = anthropic_event
    return Case("Anthropic, messages, streamed, text and a tool").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256, "stream": True}, *ANTHROPIC_HEAD)).get(
        streamed("request-id: req_1"), chunk(ANTHROPIC_START),
        chunk(e("content_block_start", index=0, content_block={"type": "text", "text": ""}) + e("ping")),
        chunk(e("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})),
        chunk(e("content_block_delta", index=0, delta={"type": "text_delta", "text": "!"}) + e("content_block_stop", index=0)),
        chunk(e("content_block_start", index=1, content_block={"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
                                                              "name": "get_weather", "input": {}})),
        chunk(e("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{\"location\":"})),
        chunk(e("content_block_stop", index=1)),
        chunk(e("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 89})),
        chunk(e("message_stop")) + LAST)


@case
def anthropic_messages_overloaded():
    e = anthropic_event
    return Case("Anthropic, an error within a stream").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256, "stream": True}, *ANTHROPIC_HEAD)).get(
        streamed(), chunk(ANTHROPIC_START),
        chunk(e("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})),
        chunk(e("error", error={"type": "overloaded_error", "message": "Overloaded"})) + LAST)


@case
def anthropic_messages_cut():
    c = Case("Anthropic, the stream breaks in the middle: what it had used so far is not what it used").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256, "stream": True}, *ANTHROPIC_HEAD)).get(
        streamed(), chunk(ANTHROPIC_START),
        chunk(anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})))
    c.append("close 104")
    return c


@case
def anthropic_messages_limited():
    return Case("Anthropic, 429 and the SDK's second attempt").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256}, "x-stainless-retry-count: 0")).get(
        answer({"type": "error", "error": {"type": "rate_limit_error", "message": "Number of requests has exceeded your limit"}},
               "retry-after: 13", "anthropic-ratelimit-requests-limit: 50", "anthropic-ratelimit-requests-remaining: 0",
               "request-id: req_018", status="429 Too Many Requests")).ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256}, "x-stainless-retry-count: 1")).get(
        answer({"id": "msg_02", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 9, "output_tokens": 3}}))


@case
def anthropic_messages_refused():
    return Case("Anthropic, not authorised").ask(post("/v1/messages", ANTHROPIC, {
        "model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 256}, "anthropic-version: 2023-06-01")).get(
        answer({"type": "error", "error": {"type": "authentication_error", "message": "x-api-key header is required"}},
               status="401 Unauthorized"))


# ---- Gemini: https://ai.google.dev/api/generate-content ----

GEMINI = "generativelanguage.googleapis.com"
GEMINI_ASK = {"contents": [{"role": "user", "parts": [{"text": "Write a story about a \"magic\" backpack."}]}],
              "generationConfig": {"temperature": 0.9, "topP": 0.95, "topK": 40, "maxOutputTokens": 1000, "stopSequences": ["Title"]}}


def gemini(text, finish=None, **usage):
    candidate = {"content": {"parts": text if isinstance(text, list) else [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 10, **usage, "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 10}]}, "modelVersion": "gemini-2.5-flash", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}


@case
def gemini_generate():
    return Case("Gemini, with thoughts and a function call").ask(post(
        "/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, GEMINI_ASK, "x-goog-api-key: hidden")).get(
        answer(json.dumps(gemini([{"text": "Once"}, {"functionCall": {"name": "get_weather", "args": {"name": "x"}}}], "STOP",
                                 candidatesTokenCount=20, totalTokenCount=80, thoughtsTokenCount=50, cachedContentTokenCount=4),
                          indent=2).encode(), type="application/json; charset=UTF-8"))


@case
def gemini_stream():
    return Case("Gemini, streamed as events").ask(post(
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI, GEMINI_ASK, "x-goog-api-key: hidden")).get(
        streamed(type="text/event-stream"), chunk(sse(gemini("Once", totalTokenCount=10)).replace(b"\n", b"\r\n")),
        chunk(sse(gemini(" upon", totalTokenCount=10)).replace(b"\n", b"\r\n")),
        chunk(sse(gemini(" a time", "MAX_TOKENS", candidatesTokenCount=8, totalTokenCount=18)).replace(b"\n", b"\r\n")) + LAST)


@case
def gemini_stream_array():
    parts = [json.dumps(gemini(t, f, candidatesTokenCount=n, totalTokenCount=10 + n), indent=2).encode()
             for t, f, n in (("Once", None, 1), (" upon", None, 2), (" a time", "STOP", 3))]
    return Case("Gemini, streamed as one array").ask(post(
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent", GEMINI, GEMINI_ASK)).get(
        streamed(type="application/json; charset=UTF-8"), chunk(b"[" + parts[0]), chunk(b"\n,\r\n" + parts[1]),
        chunk(b"\n,\r\n" + parts[2]), chunk(b"\n]\n") + LAST)


@case
def gemini_error():
    return Case("Gemini, quota").ask(post("/v1beta/models/gemini-2.5-pro:generateContent", GEMINI, GEMINI_ASK)).get(
        answer({"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}},
               status="429 Too Many Requests"))


@case
def gemini_embed():
    return Case("Gemini, embeddings, one and several: nobody counts their tokens").ask(post(
        "/v1beta/models/gemini-embedding-001:embedContent", GEMINI, {"content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 4})).get(
        answer({"embedding": {"values": [0.01, 0.02, 0.03, 0.04]}})).ask(post(
        "/v1beta/models/gemini-embedding-001:batchEmbedContents", GEMINI, {"requests": [
            {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 8}]})).get(
        answer({"embeddings": [{"values": [0.01]}]}))


@case
def vertex_anthropic():
    return Case("Vertex AI, a model of Anthropic's").ask(post(
        "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-3-5-haiku@20241022:rawPredict",
        "us-east5-aiplatform.googleapis.com", {"anthropic_version": "vertex-2023-10-16", "messages": MESSAGES[1:], "max_tokens": 100})).get(
        answer({"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": "claude-3-5-haiku-20241022",
                "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 10, "output_tokens": 3}}))


# ---- Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference ----

BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Write \"an article\""}]}],
            "inferenceConfig": {"maxTokens": 512, "temperature": 0.5, "topP": 0.9}}


def event(kind, body, header=":event-type"):
    """One message of the event stream: prelude, headers, payload, checksums."""
    text = lambda k, v: bytes([len(k)]) + k.encode() + b"\x07" + struct.pack(">H", len(v)) + v.encode()
    headers = text(header, kind) + text(":content-type", "application/json") + text(
        ":message-type", "event" if header == ":event-type" else "exception")
    payload = dumps(body)
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


@case
def bedrock_converse():
    return Case("Bedrock, Converse, with a tool").ask(post(
        "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse", BEDROCK, CONVERSE, "amz-sdk-request: attempt=2; max=5")).get(
        answer({"metrics": {"latencyMs": 1275}, "output": {"message": {"role": "assistant", "content": [
            {"text": "Sure."}, {"toolUse": {"input": {"name": "x"}, "name": "top_song", "toolUseId": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q"}}]}},
            "stopReason": "tool_use", "usage": {"cacheReadInputTokens": 4, "cacheWriteInputTokens": 6, "inputTokens": 30,
                                                "outputTokens": 628, "totalTokens": 668}}, "x-amzn-RequestId: 7a1d"))


@case
def bedrock_converse_stream():
    return Case("Bedrock, ConverseStream").ask(post("/model/amazon.nova-lite-v1%3A0/converse-stream", BEDROCK, CONVERSE)).get(
        streamed("x-amzn-RequestId: 7a1e", type="application/vnd.amazon.eventstream"),
        chunk(event("messageStart", {"p": "abcdefg", "role": "assistant"})),
        chunk(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Sure"}, "p": "abc"})),
        chunk(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "!"}, "p": "ab"})
              + event("contentBlockStop", {"contentBlockIndex": 0, "p": "a"})),
        chunk(event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"name": "top_song", "toolUseId": "tooluse_1"}}})),
        chunk(event("messageStop", {"p": "abcdefghijkl", "stopReason": "tool_use"})),
        chunk(event("metadata", {"metrics": {"latencyMs": 532}, "p": "abcd", "usage": {
            "inputTokens": 11, "outputTokens": 29, "totalTokens": 40}})) + LAST)


@case
def bedrock_converse_stream_exception():
    return Case("Bedrock, ConverseStream, throttled in the middle").ask(post(
        "/model/amazon.nova-lite-v1%3A0/converse-stream", BEDROCK, CONVERSE)).get(
        streamed(type="application/vnd.amazon.eventstream"), chunk(event("messageStart", {"role": "assistant"})),
        chunk(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Sure"}})),
        chunk(event("throttlingException", {"message": "Too many requests"}, ":exception-type")) + LAST)


@case
def bedrock_invoke():
    return Case("Bedrock, InvokeModel, bodies of Anthropic, Titan and Llama").ask(post(
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", BEDROCK,
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200, "temperature": 0.1, "messages": MESSAGES[1:]})).get(
        answer({"id": "msg_bdrk_01", "type": "message", "role": "assistant", "model": "claude-3-haiku-20240307",
                "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 14, "output_tokens": 5}},
               "X-Amzn-Bedrock-Input-Token-Count: 14", "X-Amzn-Bedrock-Output-Token-Count: 5")).ask(post(
        "/model/amazon.titan-text-express-v1/invoke", BEDROCK, {"inputText": "Say \"hi\"", "textGenerationConfig": {
            "maxTokenCount": 64, "temperature": 0.3, "topP": 0.8}})).get(
        answer({"inputTextTokenCount": 5, "results": [{"tokenCount": 9, "outputText": "hi", "completionReason": "FINISH"}]})).ask(post(
        "/model/meta.llama3-8b-instruct-v1%3A0/invoke", BEDROCK, {"prompt": "hi", "max_gen_len": 32, "temperature": 0.5})).get(
        answer({"generation": "hello", "prompt_token_count": 3, "generation_token_count": 4, "stop_reason": "stop"}))


@case
def bedrock_invoke_stream():
    part = lambda o: event("chunk", {"bytes": base64.b64encode(dumps(o)).decode(), "p": "abc"})
    start = {"type": "message_start", "message": {"id": "msg_bdrk_02", "type": "message", "role": "assistant", "model": "claude-3-haiku-20240307",
                                                  "content": [], "stop_reason": None, "usage": {"input_tokens": 14, "output_tokens": 1}}}
    return Case("Bedrock, InvokeModelWithResponseStream: documents in base64 in documents").ask(post(
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke-with-response-stream", BEDROCK,
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200, "messages": MESSAGES[1:]})).get(
        streamed(type="application/vnd.amazon.eventstream"), chunk(part(start)),
        chunk(part({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello " + "x" * 700}})),
        chunk(part({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}})),
        chunk(part({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 12}})),
        chunk(part({"type": "message_stop", "amazon-bedrock-invocationMetrics": {
            "inputTokenCount": 14, "outputTokenCount": 12, "invocationLatency": 551, "firstByteLatency": 365}})) + LAST)


@case
def bedrock_embed():
    return Case("Bedrock, InvokeModel of models that embed: Titan, Cohere").ask(post(
        "/model/amazon.titan-embed-text-v2%3A0/invoke", BEDROCK, {"inputText": "hi", "dimensions": 256})).get(
        answer({"embedding": [0.1, 0.2], "inputTextTokenCount": 3}, "X-Amzn-Bedrock-Input-Token-Count: 3")).ask(post(
        "/model/cohere.embed-english-v3/invoke", BEDROCK, {"texts": ["hi"], "input_type": "search_document"})).get(
        answer({"embeddings": [[0.1]], "id": "e1", "response_type": "embeddings_floats", "texts": ["hi"]},
               "X-Amzn-Bedrock-Input-Token-Count: 2"))


@case
def bedrock_stream_cut():
    c = Case("Bedrock, ConverseStream, the connection breaks in the middle of a message").ask(
        post("/model/amazon.nova-lite-v1%3A0/converse-stream", BEDROCK, CONVERSE)).get(
        streamed("x-amzn-RequestId: 7a1f", type="application/vnd.amazon.eventstream"), chunk(event("messageStart", {"role": "assistant"})),
        chunk(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Sure"}})),
        chunk(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "!"}}))[:60])
    c.append("close 104")
    return c


@case
def bedrock_throttled():
    return Case("Bedrock, throttled").ask(post("/model/amazon.nova-lite-v1%3A0/converse", BEDROCK, CONVERSE)).get(
        answer({"message": "Too many requests, please wait before trying again."},
               "x-amzn-ErrorType: ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
               status="429 Too Many Requests"))


# ---- Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md ----

OLLAMA = "localhost:11434"
OLLAMA_END = {"done": True, "done_reason": "stop", "total_duration": 4883583458, "load_duration": 1334875, "prompt_eval_count": 26,
              "prompt_eval_duration": 342546000, "eval_count": 282, "eval_duration": 4535599000}


def ollama(**more):
    return dumps({"model": "llama3.2", "created_at": "2023-08-04T08:52:19.385406455-07:00", **more}) + b"\n"


@case
def ollama_chat():
    return Case("Ollama, chat, not streamed, with a tool").ask(post("/api/chat", OLLAMA, {
        "model": "llama3.2", "messages": MESSAGES[1:], "stream": False, "options": {"seed": 101, "temperature": 0, "num_predict": 50}})).get(
        answer(ollama(message={"role": "assistant", "content": "", "tool_calls": [{"function": {
            "name": "get_current_weather", "arguments": {"format": "celsius", "location": "Paris, FR"}}}]}, **OLLAMA_END).strip(),
            type="application/json; charset=utf-8"))


@case
def ollama_chat_stream():
    return Case("Ollama, chat, streamed: a document a line").ask(post("/api/chat", OLLAMA, {
        "model": "llama3.2", "messages": MESSAGES[1:]})).get(
        streamed(type="application/x-ndjson"),
        *[chunk(ollama(message={"role": "assistant", "content": t, "images": None}, done=False)) for t in ("The", " sky", " is")],
        chunk(ollama(message={"role": "assistant", "content": ""}, **OLLAMA_END)) + LAST)


@case
def ollama_generate_and_embed():
    return Case("Ollama, generate streamed, embed, and an error").ask(post("/api/generate", OLLAMA, {
        "model": "llama3.2", "prompt": "Why?"})).get(
        streamed(type="application/x-ndjson"), chunk(ollama(response="The", done=False)),
        chunk(ollama(response="", context=[1, 2, 3], **OLLAMA_END)) + LAST).ask(post("/api/embed", OLLAMA, {
        "model": "all-minilm", "input": "Why is the sky blue?"})).get(
        answer({"model": "all-minilm", "embeddings": [[0.010071029, -0.0017594862]], "total_duration": 14143917,
                "load_duration": 1019500, "prompt_eval_count": 8})).ask(post("/api/chat", OLLAMA, {
        "model": "nothing", "messages": []})).get(
        answer({"error": "model 'nothing' not found"}, status="404 Not Found"))


# ---- what every provider has ----

CONVERSE_PATH = "/model/amazon.nova-lite-v1%3A0/converse"
INVOKE_PATH = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke"
AZURE_PATH, AZURE_HOST = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21", "res.openai.azure.com"
EVENTS = "application/vnd.amazon.eventstream"


def cut(about, ask, kind, *pieces):
    """A stream of which the last piece is torn, and the connection with it."""
    c = Case(about + ", the stream breaks in the middle").ask(ask).get(
        streamed(type=kind), *[chunk(p) for p in pieces[:-1]], chunk(pieces[-1])[:len(pieces[-1]) // 2])
    c.append("close 104")
    return c


@case
def openai_responses_cut():
    event = lambda name, **more: sse({"type": name, **more}, name)
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    piece = event("response.output_text.delta", item_id="msg_67cc", output_index=1, content_index=0, delta="Once upon")
    return cut("OpenAI, responses", post("/v1/responses", OPENAI, {"model": "o3-mini", "input": "Tell me", "stream": True}),
               "text/event-stream", event("response.created", response=begun), piece, piece)


@case
def azure_chat_cut():
    return cut("Azure", post(AZURE_PATH, AZURE_HOST, {"messages": MESSAGES, "stream": True}), "text/event-stream",
               delta({"content": "Hel"}), delta({"content": "lo"}))


@case
def mistral_chat_cut():
    return cut("Mistral", post("/v1/chat/completions", "api.mistral.ai", {"model": "mistral-small-latest", "messages": MESSAGES,
                                                                          "stream": True}), "text/event-stream",
               delta({"content": "Bon"}), delta({"content": "jour"}))


@case
def gemini_stream_cut():
    return cut("Gemini: counts of the pieces before are not the call's", post(
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI, GEMINI_ASK), "text/event-stream",
        sse(gemini("Once", candidatesTokenCount=3, totalTokenCount=13)), sse(gemini(" upon", candidatesTokenCount=5, totalTokenCount=15)))


@case
def bedrock_invoke_stream_cut():
    part = lambda o: event("chunk", {"bytes": base64.b64encode(dumps(o)).decode(), "p": "abc"})
    text = part({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})
    return cut("Bedrock, InvokeModelWithResponseStream", post(INVOKE_PATH + "-with-response-stream", BEDROCK, {
        "max_tokens": 200, "messages": MESSAGES[1:]}), EVENTS, text, text)


@case
def ollama_chat_cut():
    piece = lambda t: ollama(message={"role": "assistant", "content": t}, done=False)
    return cut("Ollama", post("/api/chat", OLLAMA, {"model": "llama3.2", "messages": MESSAGES[1:]}), "application/x-ndjson",
               piece("The"), piece(" sky"))


DEEPSEEK = "api.deepseek.com"


@case
def compatible_chat():
    said = {"role": "assistant", "reasoning_content": "hm", "content": "ok"}
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4,
             "completion_tokens_details": {"reasoning_tokens": 5}}
    return Case("Servers of OpenAI's form: DeepSeek, Groq's path, vLLM on this host").ask(post("/chat/completions", DEEPSEEK, {
        "model": "deepseek-reasoner", "messages": MESSAGES})).get(answer({**completion(said, "stop"), "model": "deepseek-reasoner",
                                                                         "usage": usage})).ask(
        post("/openai/v1/chat/completions", "api.groq.com", {"model": "llama-3.1-8b-instant", "messages": MESSAGES})).get(
        answer({**completion({"role": "assistant", "content": "ok"}, "stop"), "model": "llama-3.1-8b-instant"})).ask(
        post("/v1/chat/completions", "127.0.0.1:8000", {"model": "Qwen/Qwen3-8B", "messages": MESSAGES})).get(
        answer({**completion({"role": "assistant", "content": "ok"}, "stop"), "model": "Qwen/Qwen3-8B"}))


@case
def compatible_chat_stream():
    part = lambda d, finish, **more: sse({"id": "c1", "object": "chat.completion.chunk", "model": "qwen-plus",
                                          "choices": [{"index": 0, "delta": d, "finish_reason": finish}], **more})
    return Case("A server of OpenAI's form, streamed: reasons to finish are empty until the last; the usage stands at Groq's place").ask(
        post("/compatible-mode/v1/chat/completions", "models.example", {"model": "qwen-plus", "messages": MESSAGES, "stream": True})).get(
        streamed(), chunk(part({"reasoning_content": "hm"}, "")), chunk(part({"content": "o"}, "")), chunk(part({"content": "k"}, "")),
        chunk(part({}, "stop", x_groq={"id": "r1", "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}})),
        chunk(sse(b"[DONE]")) + LAST)


def retried(about, path, host, body, refused, good, fields=((), ())):
    return Case(about + ", 429 and a second attempt").ask(post(path, host, body, *fields[0])).get(
        answer(refused, "retry-after: 2", status="429 Too Many Requests")).ask(post(path, host, body, *fields[1])).get(answer(good))


OK = {"role": "assistant", "content": "ok"}


@case
def azure_chat_retry():
    return retried("Azure", AZURE_PATH, AZURE_HOST, {"messages": MESSAGES},
                   {"error": {"code": "429", "message": "Requests have exceeded the rate limit"}}, completion(OK, "stop"),
                   (("x-stainless-retry-count: 0",), ("x-stainless-retry-count: 1",)))


@case
def mistral_chat_retry():
    return retried("Mistral", "/v1/chat/completions", "api.mistral.ai", {"model": "mistral-small-latest", "messages": MESSAGES},
                   {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
                   {**completion(OK, "stop"), "model": "mistral-small-latest"})


@case
def gemini_retry():
    return retried("Gemini", "/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, GEMINI_ASK,
                   {"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}},
                   gemini("ok", "STOP", candidatesTokenCount=1, totalTokenCount=11))


@case
def bedrock_retry():
    return retried("Bedrock", CONVERSE_PATH, BEDROCK, CONVERSE, {"__type": "ThrottlingException", "message": "Too many requests"},
                   {"output": {"message": {"role": "assistant", "content": [{"text": "ok"}]}}, "stopReason": "end_turn",
                    "usage": {"inputTokens": 5, "outputTokens": 1, "totalTokens": 6}},
                   (("amz-sdk-request: attempt=1; max=5",), ("amz-sdk-request: attempt=2; max=5",)))


def looped(about, path, host, first, asks, second, done):
    return Case(about + ", a tool loop: two calls on one connection").ask(post(path, host, first)).get(answer(asks)).ask(
        post(path, host, second)).get(answer(done))


@case
def openai_responses_tool_loop():
    call = RESPONSE["output"][1]
    told = {"type": "function_call_output", "call_id": call["call_id"], "output": "{\"name\":\"not this\"}"}
    return looped("OpenAI, responses", "/v1/responses", OPENAI, {"model": "o3-mini", "input": [MESSAGES[1]]}, RESPONSE,
                  {"model": "o3-mini", "input": [MESSAGES[1], call, told]}, {**RESPONSE, "output": RESPONSE["output"][2:]})


@case
def anthropic_tool_loop():
    use = {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"name": "x", "id": "y"}}
    told = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "cold"}]}
    message = lambda content, reason: {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022",
                                       "content": content, "stop_reason": reason, "usage": {"input_tokens": 30, "output_tokens": 9}}
    ask = {"model": "claude-3-5-sonnet-latest", "max_tokens": 99, "messages": MESSAGES[1:]}
    return looped("Anthropic", "/v1/messages", ANTHROPIC, ask, message([use], "tool_use"), {
        **ask, "messages": MESSAGES[1:] + [{"role": "assistant", "content": [use]}, told]},
        message([{"type": "text", "text": "It is cold."}], "end_turn"))


@case
def gemini_tool_loop():
    call = {"functionCall": {"name": "get_weather", "args": {"name": "x"}}}
    answered = {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"result": "cold"}}}]}
    return looped("Gemini", "/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, GEMINI_ASK,
                  gemini([call], "STOP", candidatesTokenCount=4, totalTokenCount=14),
                  {"contents": [{"role": "model", "parts": [call]}, answered]}, gemini("Cold", "STOP", candidatesTokenCount=1, totalTokenCount=11))


@case
def bedrock_tool_loop():
    use = {"toolUse": {"input": {"name": "x"}, "name": "top_song", "toolUseId": "tooluse_1"}}
    told = {"role": "user", "content": [{"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "none"}]}}]}
    said = lambda content, reason: {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason,
                                    "usage": {"inputTokens": 30, "outputTokens": 6, "totalTokens": 36}}
    return looped("Bedrock, Converse", CONVERSE_PATH, BEDROCK, CONVERSE, said([use], "tool_use"), {
        **CONVERSE, "messages": [{"role": "assistant", "content": [use]}, told]}, said([{"text": "None."}], "end_turn"))


@case
def ollama_tool_loop():
    calls = [{"function": {"name": "get_weather", "arguments": {"name": "x"}}}]
    ask = {"model": "llama3.2", "stream": False, "messages": MESSAGES[1:]}
    said = lambda **m: json.loads(ollama(message={"role": "assistant", "content": "", **m}, **OLLAMA_END))
    return looped("Ollama", "/api/chat", OLLAMA, ask, said(tool_calls=calls), {
        **ask, "messages": MESSAGES[1:] + [{"role": "assistant", "content": "", "tool_calls": calls},
                                           {"role": "tool", "tool_name": "get_weather", "content": "cold"}]}, said(content="Cold"))


@case
def many_tools_stream():
    """Each call is told three times."""
    calls = [{"type": "function_call", "id": f"fc_{i}", "call_id": f"call_{i}", "name": f"tool_{i}", "arguments": "{}"} for i in range(20)]
    event = lambda name, **more: sse({"type": name, **more}, name)
    return Case("OpenAI, responses, streamed: more calls of tools than the list holds").ask(post("/v1/responses", OPENAI, {
        "model": "o3-mini", "input": "all of them", "stream": True})).get(
        streamed(), *[chunk(event("response.output_item.added", item=c) + event("response.output_item.done", item=c)) for c in calls],
        chunk(event("response.completed", response={**RESPONSE, "output": calls})) + LAST)


@case
def responses_code_interpreter():
    event = lambda name, **more: sse({"type": name, **more}, name)
    return Case("OpenAI, responses, streamed: code that the model wrote is no error's code").ask(post("/v1/responses", OPENAI, {
        "model": "o3-mini", "input": "count", "stream": True})).get(
        streamed(), chunk(event("response.code_interpreter_call_code.delta", item_id="ci_1", delta="print(1)")),
        chunk(event("response.code_interpreter_call_code.done", item_id="ci_1", code="print(1)")),
        chunk(event("response.completed", response={**RESPONSE, "output": RESPONSE["output"][2:]})) + LAST)


@case
def gemini_stream_stop_each():
    return Case("Gemini, streamed by an older model: each piece says STOP").ask(post(
        "/v1beta/models/gemini-1.5-flash:streamGenerateContent?alt=sse", GEMINI, GEMINI_ASK)).get(
        streamed(), *[chunk(sse(gemini(t, "STOP", candidatesTokenCount=n, totalTokenCount=10 + n))) for t, n in (("a", 1), ("b", 2))], LAST)


@case
def counts_below_zero():
    lie = {**OPENAI_USAGE, "prompt_tokens": -19, "completion_tokens": -1e3, "total_tokens": -0.5}
    return Case("A server that counts below zero is not believed").ask(post("/v1/chat/completions", OPENAI, {
        "messages": MESSAGES, "model": "gpt-4o-mini", "seed": -7})).get(answer({**completion(OK, "stop"), "usage": lie}))


@case
def anthropic_stream_packed():
    import brotli, zstandard
    e = anthropic_event
    parts = [ANTHROPIC_START, e("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
             e("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}), e("message_stop")]
    c = Case("Anthropic, streams in brotli and zstd")
    for name, packer in (("br", brotli.Compressor()), ("zstd", zstandard.ZstdCompressor().compressobj())):
        flush = packer.flush if name == "br" else lambda: packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        pack = packer.process if name == "br" else packer.compress
        packed = [pack(p) + flush() for p in parts] + [packer.finish() if name == "br" else packer.flush()]
        c.ask(post("/v1/messages", ANTHROPIC, {"model": "claude-3-5-sonnet-latest", "messages": MESSAGES[1:], "max_tokens": 9,
                                               "stream": True})).get(
            streamed("Content-Encoding: " + name), *[chunk(p) for p in packed if p], LAST)
    return c


@case
def not_a_call():
    return Case("Paths like a model's, bodies of something else: plain HTTP").ask(post(
        "/api/chat", "chat.example", {"room": 7, "message": {"model": "x"}})).get(answer({"id": 1, "model": "y"})).ask(post(
        "/v1/messages", "queue.example", b"not json")).get(answer(b"neither")).ask(post(
        "/v1/embeddings", "x.example", {"text": "a"})).get(answer({"usage": {"prompt_tokens": 3}}))


@case
def privacy_off():
    c = Case("What went wrong, in the provider's words: only when privacy is off")
    c.append(": privacy off")
    return c.ask(post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini"})).get(
        answer(LIMITED, status="429 Too Many Requests")).ask(
        post("/v1/chat/completions", OPENAI, {"messages": MESSAGES, "model": "gpt-4o-mini", "stream": True})).get(
        streamed(), chunk(delta({"content": "Hel\n"})), chunk(delta({"content": "lo " + "é" * 400})), chunk(delta({}, "stop")) + LAST).ask(
        post("/v1/messages", ANTHROPIC, {"model": "claude-3-5-sonnet-latest", "max_tokens": 9, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a \"quoted\" one"}]}]}, *ANTHROPIC_HEAD)).get(
        answer({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 1}}))


@case
def huge_prompt():
    body = dumps({"messages": [{"role": "user", "content": "x" * 300 + "\"} ],\\"}], "model": "gpt-4o-mini", "temperature": 0.3,
                  "stop": ["a\"b"]})
    whole = post("/v1/chat/completions", OPENAI, body.replace(b"x" * 300, b"x" * 4000000))
    c = Case("4 MB in one call, of which the kernel gave the beginning and the end")
    c.append("@1000")
    c.append(f">[{len(whole)}] {escape(whole[:600])}")
    c.append(f">[{len(whole)}]…{escape(whole[-200:])}")
    c.clock = 21000
    return c.get(answer(completion({"role": "assistant", "content": "ok"}, "stop")))


# ---- MCP: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports ----

MCP_HEAD = ("Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-06-18", "Mcp-Session-Id: 1868a90c")


def rpc(method, id=None, **params):
    return {"jsonrpc": "2.0", **({"id": id} if id is not None else {}), "method": method, **({"params": params} if params else {})}


@case
def not_mcp():
    return Case("JSON-RPC of another protocol, with MCP's Accept: plain HTTP").ask(post(
        "/a2a", "agents.example", rpc("message/send", 1, message={"role": "user", "parts": []}), *MCP_HEAD)).get(
        answer({"jsonrpc": "2.0", "id": 1, "result": {"isError": True}}))


@case
def mcp_http():
    result = lambda id, r: {"jsonrpc": "2.0", "id": id, "result": r}
    progress = rpc("notifications/progress", progressToken=1, progress=50)
    return Case("MCP, streamable HTTP: initialise, tools in JSON and as events, an error of the tool, one of the protocol").ask(post(
        "/mcp", "tools.example", rpc("initialize", 0, protocolVersion="2025-06-18", capabilities={}, clientInfo={
            "name": "ExampleClient", "version": "1.0.0"}), "Accept: application/json, text/event-stream")).get(
        answer(result(0, {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}),
               "Mcp-Session-Id: 1868a90c")).ask(post("/mcp", "tools.example", rpc("notifications/initialized"), *MCP_HEAD)).get(
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ask(
        post("/mcp", "tools.example", rpc("tools/call", 1, name="get_weather", arguments={"name": "Paris"}), *MCP_HEAD)).get(
        streamed(type="text/event-stream"), chunk(sse(progress, "message")),
        chunk(sse(result(1, {"content": [{"type": "text", "text": "22 C"}], "isError": False}), "message")) + LAST).ask(
        post("/mcp", "tools.example", rpc("tools/call", 2, name="get_weather", arguments={}), *MCP_HEAD)).get(
        answer(result(2, {"content": [{"type": "text", "text": "no such place"}], "isError": True}))).ask(
        post("/mcp", "tools.example", rpc("tools/call", "3", name="nope", arguments={}), *MCP_HEAD)).get(
        answer({"jsonrpc": "2.0", "id": "3", "error": {"code": -32602, "message": "Unknown tool: nope"}})).ask(
        post("/mcp", "tools.example", rpc("resources/read", 4, uri="file:///project/README.md"), *MCP_HEAD)).get(
        answer(result(4, {"contents": []})))


def main():
    for name in sys.argv[1:] or CASES:
        with open(os.path.join(HERE, name + ".txt"), "w") as f:
            f.write("\n".join(CASES[name]()) + "\n")


if __name__ == "__main__":
    main()
