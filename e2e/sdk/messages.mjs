// Drives Anthropic's unmodified Node SDK. The same cases, and the same output,
// as messages.py.

import { readFileSync } from "node:fs";

import { load, report } from "./sdk.mjs";

const { Anthropic, APIError } = load("@anthropic-ai/sdk");
const { BASE_URL, API_KEY, MODEL, TAG } = process.env;
const client = new Anthropic({ baseURL: BASE_URL, apiKey: API_KEY });

const prepare = (name, { text = "Hello there", model = MODEL, max_tokens = 20, ...more } = {}) => {
  const tag = TAG + "/" + name;
  return [
    { model, max_tokens, messages: [{ role: "user", content: text }], metadata: { user_id: tag }, ...more },
    { headers: { "x-aig-tag": tag } },
  ];
};

const answer = (m) => ({
  model: m.model,
  text: m.content.map((b) => b.text ?? "").join(""),
  finish: m.stop_reason,
  input: m.usage.input_tokens + (m.usage.cache_read_input_tokens ?? 0) + (m.usage.cache_creation_input_tokens ?? 0),
  output: m.usage.output_tokens,
  cached: m.usage.cache_read_input_tokens ?? 0,
  items: m.content.map((b) => b.type),
});

const create = async (name, { c = client, ...options } = {}) => answer(await c.messages.create(...prepare(name, options)));

// The SDK's own accumulator.
async function stream(name, options) {
  let deltas = "";
  const s = client.messages.stream(...prepare(name, options)).on("text", (piece) => (deltas += piece));
  const got = answer(await s.finalMessage());
  if (got.text !== deltas) throw new Error(`${got.text} is not ${deltas}`);
  return got;
}

async function raw(name) {
  const [body, options] = prepare(name);
  const events = new Set();
  for await (const event of await client.messages.create({ stream: true, ...body }, options)) events.add(event.type);
  return { events: [...events].sort() };
}

async function failure(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof APIError)) throw e;
    const error = e.error?.error ?? {};
    return { class: e.constructor.name, status: e.status, message: error.message, type: error.type, metadata: error.metadata ?? null };
  }
  return { class: "none" };
}

// Three pages of a PDF as another program wrote it, and a question.
const pdf = readFileSync(new URL("../../pricing/testdata/pdf/fpdf2.pdf", import.meta.url)).toString("base64");
const document = [
  { type: "document", source: { type: "base64", media_type: "application/pdf", data: pdf }, title: "a.pdf" },
  { type: "text", text: "What is in it?" },
];

const cached = (ttl) => [{ type: "text", text: "You are terse. ".repeat(20), cache_control: { type: "ephemeral", ttl } }];

report({
  plain: await create("plain"),
  unicode: await create("unicode", { text: 'Größe "日本" \\ \u2028 😀', system: "Be brief. 😀" }),
  cache: await create("cache", { text: "fault:out=9 cached=20 written=30 written_long=10", system: cached("1h") }),
  stream: await stream("stream"),
  stream_full: await stream("stream_full", {
    text: "fault:out=12 cached=7 written=20 reasoning=5",
    system: cached("5m"),
    max_tokens: 50,
  }),
  stream_cut_short: await stream("stream_cut_short", { text: "fault:out=99", max_tokens: 7 }),
  raw: await raw("raw"),
  search: await create("search", {
    text: "fault:out=9 searches=2",
    tools: [{ type: "web_search_20250305", name: "web_search", max_uses: 3 }],
    max_tokens: 50,
  }),
  document: await create("document", { text: document, model: "full/reader" }),
  refused: await failure(() => create("broke", { max_tokens: 5000 })),
  refused_stream: await failure(() => stream("broke", { max_tokens: 5000 })),
  wrong_key: await failure(() => create("key", { c: client.withOptions({ apiKey: "sk-aig-wrong" }) })),
  unknown_model: await failure(() => create("model", { model: "nobody/no-such-model" })),
  bad_field: await failure(() => create("field", { max_tokens: -1 })),
});
