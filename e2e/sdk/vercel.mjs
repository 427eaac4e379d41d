// Drives the unmodified Vercel AI SDK with its OpenAI, OpenAI-compatible and
// Anthropic providers. The same kind of cases, and the same output, as chains.py.

import { load, report } from "./sdk.mjs";

const { APICallError, generateText, streamText } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai"); // speaks the Responses API
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");
const { createAnthropic } = load("@ai-sdk/anthropic");
const { BASE_URL, API_KEY, MODEL, TAG } = process.env;

const chatModel = createOpenAICompatible({ name: "gateway", baseURL: BASE_URL + "/v1", apiKey: API_KEY, includeUsage: true });
const responsesModel = createOpenAI({ baseURL: BASE_URL + "/v1", apiKey: API_KEY });
const messagesModel = createAnthropic({ baseURL: BASE_URL + "/v1", apiKey: API_KEY });

const prepare = (model, name, maxOutputTokens = 20) => {
  const tag = TAG + "/" + name;
  return {
    model: model(MODEL),
    prompt: "Hello there",
    maxOutputTokens,
    headers: { "x-aig-tag": tag },
    providerOptions: { gateway: { user: tag }, openai: { user: tag }, anthropic: { metadata: { userId: tag } } },
  };
};

const answer = (text, usage) => ({ text, input: usage.inputTokens, output: usage.outputTokens });

async function plain(model, name) {
  const r = await generateText(prepare(model, name));
  return answer(r.text, r.usage);
}

async function stream(model, name, cap) {
  let problem;
  const r = streamText({ ...prepare(model, name, cap), onError: ({ error }) => (problem = error) });
  let text = "";
  for await (const piece of r.textStream) text += piece;
  if (problem) throw problem;
  return answer(text, await r.usage);
}

async function failure(call) {
  try {
    await call();
  } catch (e) {
    if (!APICallError.isInstance(e)) throw e;
    const { error } = JSON.parse(e.responseBody);
    return { class: e.name, status: e.statusCode, message: e.message, type: error.type, metadata: error.metadata ?? null };
  }
  return { class: "none" };
}

report({
  chat: await plain(chatModel, "chat"),
  chat_stream: await stream(chatModel, "chat_stream"),
  responses: await plain(responsesModel, "responses"),
  responses_stream: await stream(responsesModel, "responses_stream"),
  messages: await plain(messagesModel, "messages"),
  messages_stream: await stream(messagesModel, "messages_stream"),
  refused_chat: await failure(() => generateText(prepare(chatModel, "broke", 5000))),
  refused_responses: await failure(() => generateText(prepare(responsesModel, "broke", 5000))),
  refused_messages: await failure(() => generateText(prepare(messagesModel, "broke", 5000))),
  refused_stream: await failure(() => stream(chatModel, "broke", 5000)),
});
