// Drives the responses API of the unmodified openai-node SDK. The same cases,
// and the same output, as responses.py.

import { readFileSync } from "node:fs";

import { load, report } from "./sdk.mjs";

const OpenAI = load("openai");
const { BASE_URL, API_KEY, MODEL, TAG } = process.env;
const client = new OpenAI({ baseURL: BASE_URL + "/v1", apiKey: API_KEY });

const create = (name, { text = "Hello there", model = MODEL, c = client, ...more } = {}) => {
  const tag = TAG + "/" + name;
  return c.responses.create({ model, input: text, user: tag, ...more }, { headers: { "x-aig-tag": tag } });
};

const answer = (r) => ({
  model: r.model,
  text: r.output_text ?? r.output.flatMap((i) => i.content ?? []).map((c) => c.text).join(""),
  finish: r.status,
  input: r.usage.input_tokens,
  output: r.usage.output_tokens,
  cached: r.usage.input_tokens_details.cached_tokens,
  items: r.output.map((i) => i.type),
});

async function stream(name, options) {
  const events = new Set();
  let deltas = "";
  let last;
  for await (const event of await create(name, { stream: true, ...options })) {
    events.add(event.type);
    if (event.type === "response.output_text.delta") deltas += event.delta;
    last = event;
  }
  const got = answer(last.response);
  if (got.text !== deltas) throw new Error(`${got.text} is not ${deltas}`);
  return { ...got, events: [...events].sort() };
}

// The SDK's own accumulator, which checks the order of the events.
async function helper(name) {
  const tag = TAG + "/" + name;
  const s = client.responses.stream(
    { model: MODEL, input: "Hello there", max_output_tokens: 20, user: tag },
    { headers: { "x-aig-tag": tag } },
  );
  return answer(await s.finalResponse());
}

async function failure(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return { class: e.constructor.name, status: e.status, message: e.message, type: e.type, metadata: e.error?.metadata ?? null };
  }
  return { class: "none" };
}

// Three pages of a PDF as another program wrote it, and a question.
const pdf = readFileSync(new URL("../../pricing/testdata/pdf/fpdf2.pdf", import.meta.url)).toString("base64");
const document = [
  {
    role: "user",
    content: [
      { type: "input_file", filename: "a.pdf", file_data: `data:application/pdf;base64,${pdf}` },
      { type: "input_text", text: "What is in it?" },
    ],
  },
];

report({
  plain: answer(await create("plain", { max_output_tokens: 20 })),
  no_cap: answer(await create("no_cap")),
  unicode: answer(await create("unicode", { text: 'Größe "日本" \\ \u2028 😀', instructions: "Be brief. 😀", max_output_tokens: 9 })),
  stream: await stream("stream", { max_output_tokens: 20 }),
  stream_full: await stream("stream_full", { text: "fault:out=12 cached=2 reasoning=5", max_output_tokens: 50 }),
  stream_cut_short: await stream("stream_cut_short", { text: "fault:out=99", max_output_tokens: 7 }),
  helper: await helper("helper"),
  search: answer(
    await create("search", { text: "fault:out=9 searches=2", tools: [{ type: "web_search" }], max_tool_calls: 3, max_output_tokens: 50 }),
  ),
  document: answer(await create("document", { text: document, max_output_tokens: 20 })),
  refused: await failure(() => create("broke", { max_output_tokens: 5000 })),
  refused_stream: await failure(() => create("broke", { max_output_tokens: 5000, stream: true })),
  wrong_key: await failure(() => create("key", { c: client.withOptions({ apiKey: "sk-aig-wrong" }), max_output_tokens: 9 })),
  unknown_model: await failure(() => create("model", { model: "nobody/no-such-model", max_output_tokens: 9 })),
  bad_field: await failure(() => create("field", { max_output_tokens: -1 })),
});
