#!/usr/bin/env python3
"""The providers' own Python libraries against a server: one line of JSON for each call, with what the library says of it.

    llm_clients.py KIND BASE_URL [CA]
"""
import json, os, sys

kind, base = sys.argv[1], sys.argv[2]
ca = sys.argv[3] if len(sys.argv) > 3 else None
if ca:
    os.environ["SSL_CERT_FILE"] = ca
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}}


def tell(name, **facts):
    print(json.dumps({"name": name, **{k: v for k, v in facts.items() if v is not None}}), flush=True)


def openai_client(**more):
    import openai
    return openai.OpenAI(base_url=base + "/v1", api_key="x", max_retries=2, **more)


def chat(c, prompt, model="gpt-4o-mini", **more):
    r = c.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], **more)
    m = r.choices[0]
    tell(f"chat {model}", input=r.usage.prompt_tokens, output=r.usage.completion_tokens, finish=[m.finish_reason], id=r.id,
         response_model=r.model, tools=[t.function.name for t in m.message.tool_calls or ()] or None)
    return r


def chat_stream(c, prompt, model="gpt-4o-mini", **more):
    usage, chunks, finish = None, 0, None
    stream = c.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], stream=True,
                                       stream_options={"include_usage": True}, **more)
    for e in stream:
        usage = e.usage or usage
        for choice in e.choices:
            chunks += bool(choice.delta.content)
            finish = choice.finish_reason or finish
    tell(f"chat {model}", input=usage and usage.prompt_tokens, output=usage and usage.completion_tokens, finish=[finish], chunks=chunks)


def run_openai():
    c = openai_client()
    chat(c, "hello", temperature=0.2, top_p=0.9, max_completion_tokens=100)
    chat_stream(c, "hello")
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    first = chat(c, "tools", tools=tools)
    call = first.choices[0].message.tool_calls[0]
    again = c.chat.completions.create(model="gpt-4o-mini", tools=tools, messages=[
        {"role": "user", "content": "tools"}, first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "cold"}])
    tell("chat gpt-4o-mini", input=again.usage.prompt_tokens, output=again.usage.completion_tokens, finish=["stop"])
    r = c.responses.create(model="o3-mini", input="hello", max_output_tokens=500)
    tell("chat o3-mini", input=r.usage.input_tokens, output=r.usage.output_tokens, id=r.id,
         reasoning=r.usage.output_tokens_details.reasoning_tokens, cached=r.usage.input_tokens_details.cached_tokens)
    for e in c.responses.create(model="o3-mini", input="hello", stream=True):
        last = e
    tell("chat o3-mini", input=last.response.usage.input_tokens, output=last.response.usage.output_tokens, chunks=3)
    e = c.embeddings.create(model="text-embedding-3-small", input=["hello"], dimensions=4, encoding_format="float")
    tell("embeddings text-embedding-3-small", input=e.usage.prompt_tokens)


def run_encodings():
    c = openai_client()
    for encoding in ("gzip", "deflate", "br"):
        chat(c, f"encode:{encoding}:")
    import urllib.request, zstandard
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "encode:zstd:"}]}).encode()
    ask = urllib.request.Request(base + "/v1/chat/completions", body, {"Content-Type": "application/json"})
    u = json.loads(zstandard.decompress(urllib.request.urlopen(ask).read()))["usage"]
    tell("chat gpt-4o-mini", input=u["prompt_tokens"], output=u["completion_tokens"])


def run_retry():
    c = openai_client()
    tell("chat gpt-4o-mini", error="rate_limit_exceeded")
    chat(c, "429 once")


def run_cut():
    try:
        chat_stream(openai_client(), "cut")
    except Exception as e:  # the library's own words don't matter
        tell("chat gpt-4o-mini", raised=type(e).__name__)


def run_huge():
    chat(openai_client(), "x" * 4_000_000, temperature=0.2)


def run_anthropic():
    import anthropic
    c = anthropic.Anthropic(base_url=base, api_key="x")
    ask = dict(model="claude-3-5-sonnet-20241022", max_tokens=1024, messages=[{"role": "user", "content": "hello"}])
    m = c.messages.create(**ask)
    u = m.usage
    tell("chat claude-3-5-sonnet-20241022", id=m.id, finish=[m.stop_reason], output=u.output_tokens, cached=u.cache_read_input_tokens,
         input=u.input_tokens + u.cache_read_input_tokens + u.cache_creation_input_tokens)
    with c.messages.stream(**ask) as s:
        m = s.get_final_message()
    tell("chat claude-3-5-sonnet-20241022", id=m.id, finish=[m.stop_reason], output=m.usage.output_tokens, input=m.usage.input_tokens,
         tools=["get_weather"], chunks=3)


def run_gemini():
    from google import genai
    c = genai.Client(api_key="x", http_options={"base_url": base})
    r = c.models.generate_content(model="gemini-2.5-flash", contents="hello", config={"temperature": 0.9, "max_output_tokens": 1000})
    u = r.usage_metadata
    tell("generate_content gemini-2.5-flash", input=u.prompt_token_count, output=u.candidates_token_count + u.thoughts_token_count,
         reasoning=u.thoughts_token_count, cached=u.cached_content_token_count, id=r.response_id)
    for r in c.models.generate_content_stream(model="gemini-2.5-flash", contents="hello"):
        u = r.usage_metadata
    tell("generate_content gemini-2.5-flash", input=u.prompt_token_count, output=u.candidates_token_count, chunks=3)


def run_ollama():
    import ollama
    c = ollama.Client(host=base)
    r = c.chat(model="llama3.2", messages=[{"role": "user", "content": "hello"}], options={"temperature": 0, "seed": 101})
    tell("chat llama3.2", input=r.prompt_eval_count, output=r.eval_count, finish=[r.done_reason], tools=["get_current_weather"])
    for r in c.chat(model="llama3.2", messages=[{"role": "user", "content": "hello"}], stream=True):
        pass
    tell("chat llama3.2", input=r.prompt_eval_count, output=r.eval_count, finish=[r.done_reason], chunks=3)


def run_mistral():
    try:
        from mistralai.client import Mistral
    except ImportError:
        from mistralai import Mistral
    c = Mistral(api_key="x", server_url=base)
    ask = [{"role": "user", "content": "hello"}]
    r = c.chat.complete(model="mistral-large-latest", messages=ask, max_tokens=64, random_seed=3)
    tell("chat mistral-large-latest", input=r.usage.prompt_tokens, output=r.usage.completion_tokens, id=r.id, finish=["tool_calls"])
    for e in c.chat.stream(model="mistral-small-latest", messages=ask):
        u = e.data.usage
    tell("chat mistral-small-latest", input=u.prompt_tokens, output=u.completion_tokens, chunks=2)


def run_bedrock():
    import boto3
    c = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=base, aws_access_key_id="x", aws_secret_access_key="x",
                     verify=ca)
    ask = dict(messages=[{"role": "user", "content": [{"text": "hello"}]}], inferenceConfig={"maxTokens": 512, "temperature": 0.5})
    model = "anthropic.claude-3-5-sonnet-20240620-v1:0"
    r = c.converse(modelId=model, **ask)
    u = r["usage"]
    tell("chat " + model, input=u["inputTokens"] + u["cacheReadInputTokens"] + u["cacheWriteInputTokens"], output=u["outputTokens"],
         finish=[r["stopReason"]], tools=["top_song"])
    for e in c.converse_stream(modelId="amazon.nova-lite-v1:0", **ask)["stream"]:
        u = e.get("metadata", {}).get("usage")
    tell("chat amazon.nova-lite-v1:0", input=u["inputTokens"], output=u["outputTokens"], chunks=2)
    model = "anthropic.claude-3-haiku-20240307-v1:0"
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200, "messages": [{"role": "user", "content": "hello"}]})
    u = json.loads(c.invoke_model(modelId=model, body=body)["body"].read())["usage"]
    tell("chat " + model, input=u["input_tokens"], output=u["output_tokens"])
    for e in c.invoke_model_with_response_stream(modelId=model, body=body)["body"]:
        last = json.loads(e["chunk"]["bytes"])
    u = last["amazon-bedrock-invocationMetrics"]
    tell("chat " + model, input=u["inputTokenCount"], output=u["outputTokenCount"], chunks=2)


def run_model():
    """A real model behind an OpenAI-compatible server."""
    c = openai_client()
    chat(c, "Say hi", model="smollm2", max_tokens=8, temperature=0)
    chat_stream(c, "Count from one to twenty in words", model="smollm2", max_tokens=90, temperature=0)


globals()["run_" + kind]()
