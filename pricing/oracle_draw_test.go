package pricing_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"strings"

	"aigateway/pricing"

	"pgregory.net/rapid"
)

// oracleModels are rows with rules that the catalog has no example of.
const oracleModels = settleModels + `
- model: odd/dear-cache
  family: default
  limits: {context: 50000, max_output: 9000, default_output: 700}
  tokens_per_byte: "1.37"
  image: {max_tokens: 5000, high_tokens: 900, patch: 16, tokens_per_patch: "1.62"}
  audio: {tokens_per_second: 32}
  inference_geo: {eu: "1.15"}
  service_tiers: {priority: "1.75", cheap: "0.5"}
  peaks: [{from: "13:00", to: "15:30", multiplier: "3"}]
  prices: [{input: "1.000001", cache_read: "1.5", cache_write: "1.1", input_audio: "7", input_image: "0.9", output: "2.5", output_audio: "2.4",
    fees: {request: "0.000123", web_search: "0.01", web_search_preview: "0.025", code_container: "0.03"},
    tiers: [{from: 900, input: "2", cache_read: "2.5", cache_write: "2.2", input_audio: "7", input_image: "6", output: "2.5", output_audio: "9"}]}]
- model: odd/soon
  family: bytes
  limits: {context: 90000}
  prices:
  - {input: "5", output: "5", cache_write: "5.5", fees: {request: "0.001"}}
  - {from: 2026-11-25, input: "1", output: "9", cache_write: "8", fees: {request: "0.002", web_search: "0.1"}}
- model: odd/refusing
  family: bytes
  limits: {context: 90000}
  peaks: [{from: "22:00", to: "24:00", multiplier: "2"}, {from: "00:00", to: "02:00", multiplier: "1.5", weekdays: true}]
  prices: [{input: "5", output: "5", cache_write_long: "12", fees: {content_refusal: "0.05"}}]
- model: openai/added
  prices: [{input: "5", output: "5", cache_write: "6.25", cache_write_long: "12.5"}]
- model: jina/normalised
  family: rerank
  limits: {context: 900, max_batch: 100000}
  prices: [{input: "0.05", output: "0"}]
- model: openrouter/a/writes
  family: bytes
  limits: {context: 200000}
  image: {max_tokens: 1600}
  prices: [{input: "1", cache_write: "1.25", cache_write_long: "2", output: "2"}]
`

// sketch is a request being drawn. risky counts its members that may be refused:
// with more than one, which reason comes first is nobody's rule.
type sketch struct {
	*rapid.T
	e       pricing.Endpoint
	members []string
	risky   int
}

func (s *sketch) add(format string, args ...any) {
	s.members = append(s.members, fmt.Sprintf(format, args...))
}

// often is true about once in n times; rapid likes small numbers.
func (s *sketch) often(n int, label string) bool { return rapid.IntRange(1, n).Draw(s.T, label) == n }

func (s *sketch) pick(label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(s.T, label)
}

// text is a JSON string.
func (s *sketch) text(label string) string {
	text := strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 30, 500, 99_000, 199_500, 271_900}).Draw(s.T, label))
	if s.often(2, label+" is foreign") {
		for range rapid.IntRange(1, 6).Draw(s.T, label+" runs") {
			text += s.pick(label+" run", "\ufdfa", `\ufdfa`, "\ufb01 ", `\ufb01\uFB01`, "é", "Größe ", `\ud83d\ude00`, `\uD834\uDD60`, `\\ufdfa`, `\u005c\u0075fdfa`, `\\\ufdfa`, `\n`, "日本\ufdfa語", "a\u0958b")
		}
	}
	return `"` + text + `"`
}

// drawBody is a request of any kind for a model, and whether its refusal has one
// reason only.
func drawBody(t *rapid.T, e pricing.Endpoint, m pricing.Model) (body string, oneReason bool) {
	s := &sketch{T: t, e: e}
	s.add(`"model":%q`, m.Slug)
	if own := endpointOf(m.Slug); m.Provider == "openrouter" || m.Provider == "strict" || m.Provider == "capless" || m.Provider == "jina" || own != e && own != pricing.Chat {
		s.risky++ // some are refused whatever the body
	}
	switch e {
	case pricing.Embeddings:
		s.add(`"input":%s`, s.input("input"))
	case pricing.Rerank:
		s.ranking()
	case pricing.Completions:
		s.add(`"prompt":%s`, s.input("prompt"))
		s.generation("max_tokens")
	case pricing.Responses:
		s.responses()
	case pricing.Messages:
		s.messages()
	case pricing.Moderations:
		s.moderation()
	case pricing.Images, pricing.ImageEdits:
		s.images()
		s.onlyFor(m)
	case pricing.Transcriptions, pricing.Translations: // without their form, and so without a bound
		s.risky++
		s.add(`"prompt":%s`, s.text("prompt"))
	case pricing.Speech:
		s.speech()
		s.onlyFor(m)
	default:
		s.chat()
	}
	s.terms(m)
	if s.often(12, "is refused") {
		member := s.pick("member", `"background":true`, `"moderation":{}`, `"conversation":"c"`, `"previous_response_id":"r"`, `"models":["a/b"]`,
			`"plugins":[{"id":"web"}]`, `"web_search_options":{}`, `"mcp_servers":[{}]`, `"context_management":{"edits":[{"type":"compact_1"}]}`, `"fallbacks":[{}]`)
		if name, _, _ := strings.Cut(member, ":"); !strings.Contains(strings.Join(s.members, ","), name) {
			s.risky++
			s.members = append(s.members, member)
		}
	}
	s.members = rapid.Permutation(s.members).Draw(t, "order")
	space := s.pick("space", "", " ", "\n\t")
	return "{" + space + strings.Join(s.members, space+","+space) + space + "}", s.risky <= 1
}

// input is that of embeddings and of legacy completions.
func (s *sketch) input(label string) string {
	switch s.pick(label+" kind", "text", "texts", "ids", "lists") {
	case "texts":
		list := []string{s.text(label)}
		for range rapid.IntRange(0, 3).Draw(s.T, label+" more") {
			list = append(list, s.text(label))
		}
		return "[" + strings.Join(list, ",") + "]"
	case "ids":
		return "[" + strings.TrimSuffix(strings.Repeat("123,", rapid.IntRange(1, 400).Draw(s.T, label+" ids")), ",") + "]"
	case "lists":
		return "[" + strings.TrimSuffix(strings.Repeat("[1,22,333],", rapid.IntRange(1, 50).Draw(s.T, label+" lists")), ",") + "]"
	}
	return s.text(label)
}

func (s *sketch) ranking() {
	s.add(`"query":%s`, s.text("query"))
	var list []string
	for range rapid.IntRange(1, 250).Draw(s.T, "documents") {
		list = append(list, s.pick("document", `"a"`, `"\ufdfa"`, `"`+strings.Repeat("y", 5000)+`"`, `{"text": "b", "title":"c"}`))
	}
	s.add(`"documents":[%s]`, strings.Join(list, ","))
	if s.often(3, "per doc") {
		s.add(`"max_tokens_per_doc":%s`, s.pick("tokens per doc", "1", "300", "9000", "null"))
	}
}

// generation draws caps and choices.
func (s *sketch) generation(caps ...string) {
	for _, name := range caps {
		switch s.pick(name, "cap", "none", "cap", "null", "cap", "cap", "cap", "none", "odd") {
		case "cap":
			s.add(`%q:%d`, name, rapid.SampledFrom([]int64{1, 16, 4096, 128_000, 10_000_000}).Draw(s.T, name+" cap"))
		case "null":
			s.add(`%q:null`, name)
		case "odd":
			s.risky++
			s.add(`%q:%s`, name, s.pick(name+" odd", "0", "-1", "10000001", `"5"`, "1.5", "1e3", "true", "[1]"))
		}
	}
	for _, name := range []string{"n", "best_of"} {
		if s.often(3, name) {
			s.add(`%q:%s`, name, s.pick(name+" value", "1", "2", "7", "128", "null"))
		}
	}
	if s.often(20, "odd n") && !strings.Contains(strings.Join(s.members, ","), `"n":`) {
		s.risky++
		s.add(`"n":%s`, s.pick("n odd", "0", "129", "-1", `"2"`, "2.0"))
	}
	if s.often(3, "stream") {
		s.add(`"stream":true`)
	}
	if s.often(5, "schema") {
		s.add(`"response_format":%s`, s.pick("format", `{"type":"json_schema","json_schema":{"schema":{"enum":[1,2,3,4,5,6,7,8,9]}}}`, `{"type":"text"}`, "null"))
	}
}

// terms draws what decides prices without being input.
func (s *sketch) terms(m pricing.Model) {
	for name, values := range map[string][]string{
		"service_tier": {"auto", "default", "flex", "priority", "cheap", "ultrafast"}, "speed": {"fast", "standard"}, "inference_geo": {"us", "eu", "global"},
	} {
		if s.often(14, name) {
			s.risky++
			s.add(`%q:%q`, name, s.pick(name+" value", values...))
		}
	}
	if s.often(12, "cache control") {
		s.risky++
		s.add(`"x":{"cache_control":%s}`, s.pick("control", `{"type":"ephemeral"}`, `{"type":"ephemeral","ttl":"5m"}`, `{"type":"ephemeral","ttl":"1h"}`, `{"ttl":null}`, "null", "true"))
	}
	if s.often(12, "cache options") {
		s.risky++
		s.add(`"prompt_cache_options":%s`, s.pick("options", `{"mode":"explicit"}`, `{"mode":"explicit","ttl":"30m"}`, `{"ttl":"12h"}`, `{"mode":"implicit"}`, `{"ttl":"5m"}`, `{"ttl":"1h"}`, "null"))
	}
	if s.often(10, "retention") {
		s.risky++
		s.add(`"prompt_cache_retention":%s`, s.pick("retention value", `"24h"`, `"in_memory"`, "null"))
	}
	if s.often(8, "breakpoint") {
		s.add(`"y":[{"cache_breakpoint":{}}]`)
	}
	if s.often(8, "provider") {
		s.risky++
		s.add(`"provider":%s`, s.pick("provider value", `{"order":["a"]}`, `{"max_price":{"prompt":1}}`, "null"))
	}
}

// tools draws tools of every kind.
func (s *sketch) tools() {
	var list []string
	for range rapid.IntRange(0, 3).Draw(s.T, "tools") {
		switch s.pick("tool", "function", "client", "function", "hosted") {
		case "function":
			list = append(list, s.pick("function", `{"type":"function","function":{"name":"f"}}`, `{"type":"custom","name":"c"}`, `{"name":"f","function":{}}`,
				`{"type":"function","function":{"name":"f","description":"Größe <b>isn't</b> 日本 😀 \u00e9 \"\n","parameters":{"type":"object","properties":{"a":{"enum":[1,2,3,[],{}]}}}}}`,
				"{ \"type\" : \"custom\",\n\t\"name\": \"c\" , \"format\": [ ] }"))
		case "client":
			list = append(list, fmt.Sprintf(`{"type":%q,"name":"t"}`, s.pick("client", "bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818", "computer_use_preview")))
		default:
			s.risky++
			limit := s.pick("uses", "", `,"max_uses":0`, `,"max_uses":1`, `,"max_uses":3`)
			if s.often(3, "container") {
				limit += s.pick("memory", `,"container":null`, `,"container":{"type":"auto"}`, `,"container":{"type":"auto","memory_limit":"4g"}`, `,"container":{"memory_limit":"64g"}`, `,"container":{"memory_limit":null}`, `,"container":{"memory_limit":"2g"}`, `,"container":{"memory_limit":1}`, `,"container":"cntr_1"`)
			}
			list = append(list, fmt.Sprintf(`{"type":%q,"name":"h"%s}`, s.pick("hosted", "web_search_20250305", "web_search", "web_search_preview", "web_fetch_20250910", "file_search", "code_interpreter", "code_execution_20250825", "image_generation", "mcp", "bash_server", "computer_20250124_hosted", "web_search_premium", "code_review"), limit))
		}
	}
	if len(list) > 0 {
		s.add(`"tools":[%s]`, strings.Join(list, ","))
	}
}

// encodedPNG is the data of a picture with these dimensions and nothing on it.
func encodedPNG(w, h int) string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func (s *sketch) picture() (data string) {
	size := rapid.SampledFrom([][2]int{{1, 1}, {31, 33}, {640, 480}, {1999, 700}}).Draw(s.T, "size")
	return encodedPNG(size[0], size[1])
}

// recording is something that begins as an mp3, in base64.
func (s *sketch) recording() string {
	data := append([]byte("\xff\xfb\x10"), make([]byte, rapid.IntRange(1, 5000).Draw(s.T, "audio size"))...)
	return base64.StdEncoding.EncodeToString(data)
}

func (s *sketch) chat() {
	parts := []string{`{"type":"text","text":` + s.text("text") + `}`}
	for range rapid.IntRange(0, 2).Draw(s.T, "media") {
		s.risky++
		switch s.pick("medium", "url", "data", "string", "audio", "plain audio", "video", "unreadable") {
		case "url":
			parts = append(parts, `{"type":"image_url","image_url":{"url":"https://a/b"`+s.detail()+`}}`)
		case "string":
			parts = append(parts, `{"type":"image_url","image_url":"https://a/b"}`)
		case "data":
			parts = append(parts, `{"type":"image_url","image_url":{"url":"data:image/png;base64,`+s.picture()+`"`+s.detail()+`}}`)
		case "unreadable":
			parts = append(parts, `{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAAAAAA"`+s.detail()+`}}`)
		case "audio":
			parts = append(parts, `{"type":"input_audio","input_audio":{"format":"mp3","data":"`+s.recording()+`"}}`)
		case "plain audio":
			parts = append(parts, `{"type":"input_audio","input_audio":"`+s.recording()+`"}`)
		case "video":
			parts = append(parts, `{"type":"video_url","video_url":{"url":"https://a/b"}}`)
		}
	}
	s.add(`"messages":[{"role":"system","content":%s},{"role":"user","content":[%s]}]`, s.text("system"), strings.Join(parts, ","))
	s.generation("max_tokens", "max_completion_tokens")
	s.tools()
	if s.often(6, "modalities") {
		s.risky++
		s.add(`"modalities":%s`, s.pick("modalities value", `["text"]`, `["text","audio"]`, "null"))
	}
}

func (s *sketch) detail() string {
	return s.pick("detail", "", `,"detail":"high"`, `,"detail":"low"`, `,"detail":"auto"`, `,"detail":"original"`)
}

func (s *sketch) responses() {
	parts := []string{`{"type":"input_text","text":` + s.text("text") + `}`}
	for range rapid.IntRange(0, 2).Draw(s.T, "media") {
		s.risky++
		switch s.pick("medium", "url", "data", "pdf", "file") {
		case "url":
			parts = append(parts, `{"type":"input_image","image_url":"https://a/b"`+s.detail()+`}`)
		case "data":
			parts = append(parts, `{"type":"input_image","image_url":"data:image/png;base64,`+s.picture()+`"`+s.detail()+`}`)
		case "pdf":
			parts = append(parts, `{"type":"input_file","filename":"a.pdf","file_data":"`+s.pick("pdf", "data:application/pdf;base64,", "")+s.pick("file", "JVBERi0xLjQK", base64.StdEncoding.EncodeToString([]byte(onePage)))+`"}`)
		case "file":
			parts = append(parts, s.pick("file", `{"type":"input_file","file_id":"f"}`, `{"type":"input_file","file_url":"https://a/b"}`))
		}
	}
	if s.often(4, "text input") {
		s.add(`"input":%s`, s.text("input"))
	} else {
		items := []string{`{"role":"user","content":[` + strings.Join(parts, ",") + `]}`}
		for range rapid.IntRange(0, 2).Draw(s.T, "items") {
			items = append(items, s.pick("item", `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA"}`, `{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"hi"}]}`,
				`{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"}`, `{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":[1,1,1,1,1,1,1,1,1,1],\"b\":\"é\\u00e9\\n<'\"}"}`, `{"type":"function_call_output","call_id":"c","output":"x"}`,
				`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"x"}],"encrypted_content":null}`, `{"id":"msg_1"}`, `{"type":"message","id":"msg_1","content":[]}`, `{"type":"web_search_call","id":"ws_1","status":"completed","action":{"query":"x"}}`))
		}
		s.add(`"input":[%s]`, strings.Join(items, ","))
	}
	s.generation("max_output_tokens")
	s.tools()
	if s.often(2, "tool limit") {
		s.add(`"max_tool_calls":%s`, s.pick("tool calls", "0", "1", "4", "null"))
	}
	if s.often(10, "prewarm") {
		s.add(`%q:%s`, s.pick("prewarm name", "prewarm", "generate"), s.pick("prewarm value", "true", "false", "null"))
	}
	if s.often(10, "stored prompt") {
		s.risky++
		s.add(`"prompt":{"id":"p"}`)
	}
}

func (s *sketch) messages() {
	parts := []string{`{"type":"text","text":` + s.text("text") + `}`}
	for range rapid.IntRange(0, 2).Draw(s.T, "media") {
		s.risky++
		block := s.pick("medium", "url", "data", "pdf", "file", "text")
		switch block {
		case "url":
			block = `{"type":"image","source":{"type":"url","url":"https://a/b"}}`
		case "data":
			block = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + s.picture() + `"}}`
		case "pdf":
			block = `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + s.pick("file", "JVBERi0xLjQK", base64.StdEncoding.EncodeToString([]byte(onePage))) + `"}}`
		case "file":
			block = `{"type":"image","source":{"type":"file","file_id":"f"}}`
		default:
			block = `{"type":"document","source":{"type":"text","media_type":"text/plain","data":` + s.text("document") + `}}`
		}
		if s.often(3, "in a result") {
			block = `{"type":"tool_result","tool_use_id":"t","content":[` + block + `]}`
		}
		parts = append(parts, block)
	}
	s.add(`"system":%s`, s.text("system"))
	s.add(`"messages":[{"role":"user","content":[%s]}]`, strings.Join(parts, ","))
	if s.often(15, "no cap") {
		s.risky++
	} else {
		s.add(`"max_tokens":%s`, s.pick("max_tokens", "0", "1", "4096", "128000", "10000000"))
	}
	if s.often(3, "stream") {
		s.add(`"stream":true`)
	}
	if s.often(6, "clearing") {
		s.add(`"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}`)
	}
	s.tools()
}
