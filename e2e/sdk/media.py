"""Drives images, audio and moderations of the unmodified openai-python SDK.

Reads BASE_URL, API_KEY and TAG from the environment and prints one JSON object:
what a user of the SDK got, case by case. media.mjs does the same with
openai-node.
"""

import io
import json
import os
import wave

import openai

TAG = os.environ["TAG"]
client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key=os.environ["API_KEY"])


def at(case):
    tag = TAG + "/" + case
    return {"extra_headers": {"x-aig-tag": tag}, "extra_body": {"user": tag}}


def recording(seconds):
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(1)
        w.setframerate(8000)
        w.writeframes(b"\x80" * 8000 * seconds)
    return ("talk.wav", out.getvalue(), "audio/wav")


def picture():
    return ("a.png", b"\x89PNG\r\n\x1a\n--not a picture--\r\n", "image/png")


def images(r):
    return {"items": [d.b64_json for d in r.data], "output": r.usage.output_tokens if r.usage else 0, "text": "images"}


def image_stream(events):
    seen = [e.type for e in events]
    return {"events": seen, "text": "images"}


def transcript_stream(events):
    text, seen = "", set()
    for e in events:
        seen.add(e.type)
        if e.type == "transcript.text.delta":
            text += e.delta
        else:
            assert e.text == text, (e.text, text)
    return {"events": sorted(seen), "text": text}


def failure(call):
    try:
        call()
    except openai.APIStatusError as e:
        body = e.body if isinstance(e.body, dict) else {}
        return {"class": type(e).__name__, "status": e.status_code, "message": e.message, "type": e.type, "metadata": body.get("metadata")}
    return {"class": "none"}


def transcribe(case, model, **more):
    return client.audio.transcriptions.create(model=model, file=recording(3), **at(case), **more)


results = {
    "image": images(client.images.generate(model="media/image", prompt="a hat", quality="low", n=2, **at("image"))),
    "image_by_piece": images(client.images.generate(model="media/piece", prompt="a hat", size="1024x1024", **at("image_by_piece"))),
    "image_stream": image_stream(
        client.images.generate(model="media/image", prompt="a hat", stream=True, partial_images=2, **at("image_stream"))
    ),
    "edit": images(client.images.edit(model="media/image", image=[picture(), picture()], mask=picture(), prompt="a hat", **at("edit"))),
    "edit_stream": image_stream(
        client.images.edit(model="media/image", image=picture(), prompt="a hat", stream=True, **at("edit_stream"))
    ),
    "speech": {"text": str(len(client.audio.speech.create(model="media/voice", voice="alloy", input="Größe", **at("speech")).read()))},
    "transcript": {"text": transcribe("transcript", "media/listen").text},
    "transcript_by_second": {
        "text": transcribe("transcript_by_second", "media/second", timestamp_granularities=["word", "segment"], language="en").text
    },
    "transcript_stream": transcript_stream(transcribe("transcript_stream", "media/listen", stream=True)),
    "transcript_chunked": {
        "text": transcribe("transcript_chunked", "media/listen", chunking_strategy={"type": "server_vad", "threshold": 0.5}).text
    },
    "translation": {
        "text": client.audio.translations.create(model="media/second", file=recording(2), **at("translation")).text
    },
    "moderation": {
        "text": str(client.moderations.create(model="media/judge", input=["a", "b"], **at("moderation")).results[0].flagged)
    },
    "refused": failure(lambda: client.images.generate(model="media/image", prompt="a hat", n=9, **at("broke"))),
    "refused_form": failure(lambda: transcribe("broke", "media/listen")),
    "wrong_key": failure(
        lambda: client.with_options(api_key="sk-aig-wrong").audio.transcriptions.create(
            model="media/listen", file=recording(1), **at("wrong_key")
        )
    ),
    "unknown_model": failure(lambda: transcribe("unknown_model", "nobody/no-such-model")),
    "bad_field": failure(lambda: client.images.edit(model="media/image", image=picture(), prompt="a hat", n=99, **at("bad_field"))),
}
print(json.dumps(results))
