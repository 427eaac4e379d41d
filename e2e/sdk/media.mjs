// Drives images, audio and moderations of the unmodified openai-node SDK. The
// same cases, and the same output, as media.py.

import { load, report } from "./sdk.mjs";

const OpenAI = load("openai");
const { toFile } = OpenAI;
const { BASE_URL, API_KEY, TAG } = process.env;
const client = new OpenAI({ baseURL: BASE_URL + "/v1", apiKey: API_KEY });

const user = (name) => ({ user: TAG + "/" + name });
const at = (name) => ({ headers: { "x-aig-tag": TAG + "/" + name } });

function recording(seconds) {
  const data = Buffer.alloc(44 + 8000 * seconds, 0x80);
  data.write("RIFF", 0);
  data.writeUInt32LE(data.length - 8, 4);
  data.write("WAVEfmt ", 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(1, 22);
  data.writeUInt32LE(8000, 24);
  data.writeUInt32LE(8000, 28);
  data.writeUInt16LE(1, 32);
  data.writeUInt16LE(8, 34);
  data.write("data", 36);
  data.writeUInt32LE(8000 * seconds, 40);
  return toFile(data, "talk.wav", { type: "audio/wav" });
}

const picture = () => toFile(Buffer.from("\x89PNG\r\n\x1a\n--not a picture--\r\n", "latin1"), "a.png", { type: "image/png" });

const images = (r) => ({ items: r.data.map((d) => d.b64_json), output: r.usage?.output_tokens ?? 0, text: "images" });

async function imageStream(events) {
  const seen = [];
  for await (const e of await events) seen.push(e.type);
  return { events: seen, text: "images" };
}

async function transcriptStream(events) {
  let text = "";
  const seen = new Set();
  for await (const e of await events) {
    seen.add(e.type);
    if (e.type === "transcript.text.delta") text += e.delta;
    else if (e.text !== text) throw new Error(`${e.text} is not ${text}`);
  }
  return { events: [...seen].sort(), text };
}

async function failure(call) {
  try {
    await call();
  } catch (e) {
    return { class: e.constructor.name, status: e.status, message: e.message, type: e.type, metadata: e.error?.metadata };
  }
  return { class: "none" };
}

const transcribe = async (name, model, more = {}, c = client) =>
  c.audio.transcriptions.create({ model, file: await recording(3), ...user(name), ...more }, at(name));

const make = (name, body) => client.images.generate({ prompt: "a hat", ...user(name), ...body }, at(name));
const edit = async (name, body) => client.images.edit({ prompt: "a hat", model: "media/image", ...user(name), ...body }, at(name));

report({
  image: images(await make("image", { model: "media/image", quality: "low", n: 2 })),
  image_by_piece: images(await make("image_by_piece", { model: "media/piece", size: "1024x1024" })),
  image_stream: await imageStream(make("image_stream", { model: "media/image", stream: true, partial_images: 2 })),
  edit: images(await edit("edit", { image: [await picture(), await picture()], mask: await picture() })),
  edit_stream: await imageStream(edit("edit_stream", { image: await picture(), stream: true })),
  speech: {
    text: String(
      (await (await client.audio.speech.create({ model: "media/voice", voice: "alloy", input: "Größe", ...user("speech") }, at("speech"))).arrayBuffer())
        .byteLength,
    ),
  },
  transcript: { text: (await transcribe("transcript", "media/listen")).text },
  transcript_by_second: {
    text: (await transcribe("transcript_by_second", "media/second", { timestamp_granularities: ["word", "segment"], language: "en" })).text,
  },
  transcript_stream: await transcriptStream(transcribe("transcript_stream", "media/listen", { stream: true })),
  transcript_chunked: {
    text: (await transcribe("transcript_chunked", "media/listen", { chunking_strategy: { type: "server_vad", threshold: 0.5 } })).text,
  },
  translation: {
    text: (await client.audio.translations.create({ model: "media/second", file: await recording(2), ...user("translation") }, at("translation"))).text,
  },
  moderation: {
    text: String(
      (await client.moderations.create({ model: "media/judge", input: ["a", "b"], ...user("moderation") }, at("moderation"))).results[0].flagged,
    ),
  },
  refused: await failure(() => make("broke", { model: "media/image", n: 9 })),
  refused_form: await failure(() => transcribe("broke", "media/listen")),
  wrong_key: await failure(() => transcribe("wrong_key", "media/listen", {}, client.withOptions({ apiKey: "sk-aig-wrong" }))),
  unknown_model: await failure(() => transcribe("unknown_model", "nobody/no-such-model")),
  bad_field: await failure(async () => edit("bad_field", { image: await picture(), n: 99 })),
});
