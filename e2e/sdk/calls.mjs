// Drives the unmodified openai-node SDK through a gateway. The same cases, and
// the same output, as calls.py.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The SDK is installed outside the tree of this file.
const require = createRequire(pathToFileURL(process.env.SDK_DIR + "/"));
const OpenAI = require("openai");

const { BASE_URL, API_KEY, MODEL } = process.env;
const sent = []; // the request bodies, in order

const client = new OpenAI({
  baseURL: BASE_URL + "/v1",
  apiKey: API_KEY,
  fetch: (url, init) => {
    if (init?.method?.toUpperCase() === "POST") sent.push(Buffer.from(init.body).toString("base64"));
    return fetch(url, init);
  },
});

const chat = (tag, { text = "Hello there", model = MODEL, c = client, ...more }) =>
  c.chat.completions.create(
    { model, messages: [{ role: "user", content: text }], user: tag, ...more },
    { headers: { "x-aig-tag": tag } },
  );

const usageOf = (u) => ({ prompt: u.prompt_tokens, completion: u.completion_tokens ?? 0 });

async function plain(tag, options) {
  const answer = await chat(tag, options);
  return {
    model: answer.model,
    texts: answer.choices.map((c) => c.message.content),
    finish: answer.choices[0].finish_reason,
    usage: usageOf(answer.usage),
  };
}

async function stream(tag, options) {
  const out = { text: "", usage: [], empty_chunks: 0, chunks: 0 };
  for await (const chunk of await chat(tag, { stream: true, ...options })) {
    out.chunks++;
    if (chunk.usage) out.usage.push(usageOf(chunk.usage));
    if (chunk.choices.length === 0) {
      out.empty_chunks++;
      continue;
    }
    out.text += chunk.choices[0].delta.content ?? "";
  }
  return out;
}

async function embeddings(tag) {
  const answer = await client.embeddings.create(
    { model: MODEL, input: ["one text", "and another"], user: tag },
    { headers: { "x-aig-tag": tag } },
  );
  return {
    model: answer.model,
    items: answer.data.length,
    dimensions: answer.data[0].embedding.length,
    usage: usageOf(answer.usage),
  };
}

async function failure(call) {
  const before = sent.length;
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return {
      class: e.constructor.name,
      status: e.status,
      message: e.message,
      type: e.type,
      metadata: e.error?.metadata ?? null,
      requests: sent.length - before,
    };
  }
  return { class: "none" };
}

const models = [];
const results = {
  plain: await plain("sdk/plain", { max_tokens: 20 }),
  choices: await plain("sdk/choices", { n: 2, max_completion_tokens: 20 }),
  no_cap: await plain("sdk/capped", {}),
  unicode: await plain("sdk/unicode", { text: 'Größe "日本" \\ \u2028 😀', max_tokens: 5 }),
  stream: await stream("sdk/stream", { max_tokens: 20 }),
  stream_with_usage: await stream("sdk/stream-usage", { max_tokens: 20, stream_options: { include_usage: true } }),
  embeddings: await embeddings("sdk/embeddings"),
  refused: await failure(() => chat("sdk/broke", { max_tokens: 5000 })),
  refused_stream: await failure(() => chat("sdk/broke", { max_tokens: 5000, stream: true })),
  wrong_key: await failure(() => chat("sdk/plain", { c: client.withOptions({ apiKey: "sk-aig-wrong" }) })),
  unknown_model: await failure(() => chat("sdk/plain", { model: "nobody/no-such-model" })),
  bad_field: await failure(() => chat("sdk/plain", { max_tokens: -1 })),
  models,
};
for await (const model of client.models.list()) models.push(model.id);
process.stdout.write(JSON.stringify({ results, sent }) + "\n");
