// OpenAI's own library for Node against a server: one line of JSON for each call. NODE_PATH says where the library is.
//     llm_node.js BASE_URL
const OpenAI = require("openai").default;
const tell = (o) => console.log(JSON.stringify(o));

async function main() {
  const c = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "x" });
  const messages = [{ role: "user", content: "hello" }];
  const r = await c.chat.completions.create({ model: "gpt-4o-mini", messages, temperature: 0.2 });
  tell({ name: "chat gpt-4o-mini", input: r.usage.prompt_tokens, output: r.usage.completion_tokens, id: r.id });
  let usage, chunks = 0;
  for await (const e of await c.chat.completions.create({ model: "gpt-4o-mini", messages, stream: true, stream_options: { include_usage: true } })) {
    chunks += e.choices[0]?.delta?.content ? 1 : 0;
    usage = e.usage || usage;
  }
  tell({ name: "chat gpt-4o-mini", input: usage.prompt_tokens, output: usage.completion_tokens, chunks });
  const all = await Promise.all([1, 2, 3, 4].map((n) => c.embeddings.create({ model: "text-embedding-3-small", input: "x" + n, encoding_format: "float" })));
  for (const e of all) tell({ name: "embeddings text-embedding-3-small", input: e.usage.prompt_tokens });
}
main();
