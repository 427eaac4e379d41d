package extauthz_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

// calls are one sound body for each endpoint that JSON alone can call.
func calls() map[pricing.Endpoint]string {
	return map[pricing.Endpoint]string{
		pricing.Chat:        goodBody,
		pricing.Embeddings:  `{"model":"openai/text-embedding-3-small","input":"hi"}`,
		pricing.Responses:   `{"model":"openai/gpt-5.4-mini","max_output_tokens":100,"input":"hi"}`,
		pricing.Messages:    messagesBody,
		pricing.Completions: `{"model":"openai/gpt-5.4-mini","max_tokens":100,"prompt":"hi"}`,
		pricing.Rerank:      `{"model":"voyage/rerank","query":"q","documents":["a","b"]}`,
		pricing.Moderations: `{"model":"mistral/mistral-moderation-2603","input":"hi"}`,
		pricing.Images:      `{"model":"openai/gpt-image-2","prompt":"hi"}`,
		pricing.ImageEdits:  `{"model":"openai/gpt-image-2","prompt":"hi","images":[{"image_url":"https://example.com/a.png"}]}`,
		pricing.Speech:      `{"model":"openai/tts-1","input":"hi","voice":"alloy"}`,
		pricing.Compact:     `{"model":"openai/gpt-5.4-mini","input":"hi"}`,
	}
}

// recording is a form with one, whose boundary is b.
func recording(model string) string {
	const part = "--b\r\nContent-Disposition: form-data; name="
	frame := "\xff\xfb\x90\x64" + strings.Repeat("\x00", 413) // mp3 of 128 kbit/s and 44.1 kHz
	return part + "model\r\n\r\n" + model + "\r\n" + part + "file; filename=a.mp3\r\n\r\n" + frame + "\r\n--b--\r\n"
}

const messagesBody = `{"model":"anthropic/claude-sonnet-5.5","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`

// on is the same check on another endpoint's route.
func on(e pricing.Endpoint, in *authv3.CheckRequest) *authv3.CheckRequest {
	in.Attributes.ContextExtensions = map[string]string{"api": string(e)}
	return in
}

func TestEveryEndpointIsBounded(t *testing.T) {
	for _, e := range pricing.Endpoints() {
		if e.Free() {
			continue
		}
		ledger, kind := &fakeLedger{}, "application/json"
		body, ok := calls()[e]
		if !ok && e.TakesForms() {
			body, kind, ok = recording("openai/whisper-1"), "multipart/form-data; boundary=b", true
		}
		if !ok {
			t.Errorf("no call for %s", e)
			continue
		}
		out := check(t, newServer(t, keysWith(nil), ledger), on(e, authorized("r", body, "content-type", kind)))
		seen := ledger.take()
		if out.GetOkResponse() == nil || len(seen) != 1 || seen[0].Bound <= 0 || seen[0].Unbounded != nil {
			t.Errorf("%s: %v, reserved %+v; want a yes with a bound", e, out, seen)
			continue
		}
		md := out.GetDynamicMetadata().GetFields()
		if md["anthropic"].GetBoolValue() != (e == pricing.Messages) || md["betas"] != nil || headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit") == "" {
			t.Errorf("%s: metadata %v", e, md)
		}
	}
}

// A form goes where forms are taken, with a boundary that everybody reads alike;
// it is not called JSON on its way.
func TestFormsByContentType(t *testing.T) {
	for _, tt := range []struct {
		e            pricing.Endpoint
		kind, reason string
	}{
		{pricing.Transcriptions, "multipart/form-data; boundary=b", ""},
		{pricing.Transcriptions, "multipart/form-data", "content_type_unsupported"},
		{pricing.Transcriptions, "multipart/form-data; boundary=b; boundary=c", "content_type_unsupported"},
		{pricing.Transcriptions, "multipart/mixed; boundary=b", "content_type_unsupported"},
		{pricing.Transcriptions, "multipart/form-data; boundary=c", "form_invalid"},
		{pricing.Transcriptions, "application/json", "body_not_json"},
		{pricing.Chat, "multipart/form-data; boundary=b", "content_type_unsupported"},
		{pricing.Speech, "multipart/form-data; boundary=b", "content_type_unsupported"},
	} {
		out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), on(tt.e, authorized("r", recording("openai/whisper-1"), "content-type", tt.kind)))
		if tt.reason != "" {
			if e, err := refusal(out); err != nil || e.reason() != tt.reason {
				t.Errorf("%s %s: %+v %v, want %s", tt.e, tt.kind, e, err, tt.reason)
			}
			continue
		}
		for _, h := range out.GetOkResponse().GetHeaders() {
			if h.GetHeader().GetKey() == "content-type" {
				t.Errorf("%s: a form is called %q", tt.e, h.GetHeader().GetRawValue())
			}
		}
		if out.GetOkResponse() == nil {
			t.Errorf("%s %s: %v", tt.e, tt.kind, out)
		}
	}
	twice := authorized("r", recording("openai/whisper-1"), "content-type", "multipart/form-data; boundary=b", "content-type", "multipart/form-data; boundary=b")
	if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), on(pricing.Transcriptions, twice))); err != nil || e.reason() != "content_type_unsupported" {
		t.Errorf("two content types: %+v %v", e, err)
	}
}

func TestCredentialOfMessages(t *testing.T) {
	bearer := "Bearer " + goodKey
	tests := []struct {
		name    string
		headers []string
		reason  string // empty: admitted
		param   string
	}{
		{"x-api-key", []string{"x-api-key", goodKey}, "", ""},
		{"bearer", []string{"authorization", bearer}, "", ""},
		{"none", nil, "key_missing", "x-api-key"},
		{"both", []string{"authorization", bearer, "x-api-key", goodKey}, "", ""},
		{"both, different", []string{"authorization", bearer, "x-api-key", goodKey + "2"}, "key_invalid", "authorization"},
		{"both, one empty", []string{"authorization", "", "x-api-key", goodKey}, "key_invalid", "authorization"},
		{"twice", []string{"x-api-key", goodKey, "x-api-key", goodKey}, "key_invalid", "x-api-key"},
		{"joined", []string{"x-api-key", goodKey + "," + goodKey}, "key_invalid", "x-api-key"},
		{"joined, a provider's first", []string{"x-api-key", "sk-ant-1," + goodKey}, "key_invalid", "x-api-key"},
		{"empty", []string{"x-api-key", ""}, "key_invalid", "x-api-key"},
		{"a provider's", []string{"x-api-key", "sk-ant-1"}, "key_invalid", "x-api-key"},
		{"bearer in x-api-key", []string{"x-api-key", bearer}, "key_invalid", "x-api-key"},
		{"bare key in authorization", []string{"authorization", goodKey}, "key_invalid", "authorization"},
		{"unknown", []string{"x-api-key", "sk-aig-other"}, "key_invalid", ""},
		{"not text", []string{"x-api-key", "sk-aig-\xff\x00"}, "key_invalid", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ledger := &fakeLedger{}
			out := check(t, newServer(t, keysWith(nil), ledger), on(pricing.Messages, newCheck("req-5", messagesBody, tt.headers...)))
			if tt.reason == "" {
				if out.GetOkResponse() == nil || len(ledger.take()) != 1 {
					t.Errorf("answer %v", out)
				}
				return
			}
			e, err := anthropicRefusal(out)
			if err != nil || out.GetDeniedResponse().GetStatus().GetCode() != 401 || e.Error.Type != "authentication_error" ||
				e.Error.Metadata["reason"] != tt.reason || tt.param != "" && e.Error.Metadata["param"] != tt.param || len(ledger.take()) != 0 {
				t.Errorf("%+v, %v; want %s of %s", e, err, tt.reason, tt.param)
			}
		})
	}
}

// x-api-key alone is a credential of Anthropic's API only.
func TestNoOtherEndpointTakesXAPIKey(t *testing.T) {
	for e, body := range calls() {
		if e == pricing.Messages {
			continue
		}
		ledger := &fakeLedger{}
		s := newServer(t, keysWith(nil), ledger)
		if r, err := refusal(check(t, s, on(e, newCheck("r", body, "x-api-key", goodKey)))); err != nil || r.reason() != "key_missing" {
			t.Errorf("%s: %+v, %v", e, r, err)
		}
		if r, err := refusal(check(t, s, on(e, authorized("r", body, "x-api-key", "sk-aig-other")))); err != nil || r.reason() != "key_invalid" {
			t.Errorf("%s with both: %+v, %v", e, r, err)
		}
		if len(ledger.take()) != 0 {
			t.Errorf("%s reserved for a refused key", e)
		}
	}
}

type anthropicEnvelope struct {
	Type  string `json:"type"`
	Error struct {
		Type     string         `json:"type"`
		Message  string         `json:"message"`
		Metadata map[string]any `json:"metadata"`
	} `json:"error"`
	RequestID string `json:"request_id"`
}

func anthropicRefusal(out *authv3.CheckResponse) (*anthropicEnvelope, error) {
	d := out.GetDeniedResponse()
	if d == nil || out.GetOkResponse() != nil || out.GetDynamicMetadata() != nil {
		return nil, errors.New("not a refusal")
	}
	var e anthropicEnvelope
	if err := json.Unmarshal([]byte(d.GetBody()), &e); err != nil {
		return nil, err
	}
	if e.Type != "error" || e.Error.Type == "" || e.Error.Message == "" || e.RequestID == "" || strings.Contains(d.GetBody(), `"code"`) {
		return nil, errors.New("not Anthropic's envelope: " + d.GetBody())
	}
	return &e, nil
}

func TestRefusalsInAnthropicsEnvelope(t *testing.T) {
	in := func(body string, headers ...string) *authv3.CheckRequest {
		return on(pricing.Messages, newCheck("r", body, append([]string{"x-api-key", goodKey}, headers...)...))
	}
	with := func(member string) string { return strings.Replace(messagesBody, "{", "{"+member+",", 1) }
	tests := []struct {
		name, typ, reason string
		code              int
		in                *authv3.CheckRequest
		ledger            *fakeLedger
	}{
		{"cap", "billing_error", "cap_would_be_crossed", 402, in(messagesBody), refusing("cap_would_be_crossed", 1)},
		{"no cap in the body", "invalid_request_error", "max_tokens_required", 400, in(strings.Replace(messagesBody, `"max_tokens":100,`, "", 1)), nil},
		{"duplicate", "invalid_request_error", "duplicate_key", 400, in(with(`"max_tokens":1`)), nil},
		{"a chat body's cap", "invalid_request_error", "max_tokens_required", 400, in(strings.Replace(messagesBody, "max_tokens", "max_completion_tokens", 1)), nil},
		{"no body", "invalid_request_error", "body_missing", 400, in(""), nil},
		{"gzip", "invalid_request_error", "content_encoding_unsupported", 400, in(messagesBody, "content-encoding", "gzip"), nil},
		{"too large", "request_too_large", "body_too_large", 413, in(messagesBody, "x-envoy-auth-partial-body", "true"), nil},
		{"tag", "invalid_request_error", "tag_invalid", 400, in(messagesBody, "x-aig-tag", ""), nil},
		{"provider", "not_found_error", "provider_unknown", 404, in(strings.Replace(messagesBody, "anthropic/", "nobody/", 1)), nil},
		{"betas twice", "invalid_request_error", "field_invalid", 400, in(messagesBody, "anthropic-beta", "a", "anthropic-beta", "b"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ledger == nil {
				tt.ledger = &fakeLedger{}
			}
			out := check(t, newServer(t, keysWith(nil), tt.ledger), tt.in)
			e, err := anthropicRefusal(out)
			if err != nil || int(out.GetDeniedResponse().GetStatus().GetCode()) != tt.code || e.Error.Type != tt.typ || e.Error.Metadata["reason"] != tt.reason || len(tt.ledger.take()) != 0 {
				t.Errorf("%v, %v; want %d %s %s", out, err, tt.code, tt.typ, tt.reason)
			}
		})
	}
}

// Only an allowed beta reaches a provider: others may change what is billed.
func TestBetas(t *testing.T) {
	for sent, want := range map[string]string{
		"":                             "",
		"thinking-2025":                "thinking-2025",
		"caching-2024 , thinking-2025": "caching-2024,thinking-2025",
		"thinking-2025,context-1m,thinking-2025,,": "thinking-2025",
		"context-1m":             "",
		"THINKING-2025":          "",
		"thinking-2025;q=1":      "",
		"thinking-2025\x00":      "",
		strings.Repeat(",", 999): "",
	} {
		out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), on(pricing.Messages, newCheck("r", messagesBody, "x-api-key", goodKey, "anthropic-beta", sent)))
		if out.GetOkResponse() == nil {
			t.Errorf("%q is refused: %v", sent, out)
		}
		if got := out.GetDynamicMetadata().GetFields()["betas"].GetStringValue(); got != want {
			t.Errorf("of %q the provider gets %q, want %q", sent, got, want)
		}
	}
	// Elsewhere the header means nothing.
	out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), authorized("r", goodBody, "anthropic-beta", "thinking-2025"))
	if out.GetOkResponse() == nil || out.GetDynamicMetadata().GetFields()["betas"] != nil {
		t.Errorf("chat: %v", out)
	}
}

func TestRefusalNamesTheEndpointsOwnCap(t *testing.T) {
	for e, want := range map[pricing.Endpoint]string{
		pricing.Responses: " max_output_tokens ", pricing.Messages: " max_tokens ", pricing.Completions: " max_tokens ",
		pricing.Embeddings: "Only a shorter input fits", pricing.Rerank: "Only a shorter input fits",
	} {
		// One cent pays for the input and more output than was asked for.
		out := check(t, newServer(t, keysWith(nil), refusing("cap_would_be_crossed", budget.Cent)), on(e, authorized("r", calls()[e])))
		body := out.GetDeniedResponse().GetBody()
		if !strings.Contains(body, want) || strings.Contains(body, `"max_tokens_that_fit":null`) != (e == pricing.Embeddings || e == pricing.Rerank || e == pricing.Compact) {
			t.Errorf("%s: %s; want %q", e, body, want)
		}
	}
}

// Bodies that are hostile on some endpoint are sent to all of them: each is a
// yes with its one reservation, or a refusal with none, in the right envelope.
func TestHostileBodiesOnEveryEndpoint(t *testing.T) {
	members := []string{
		`"max_tokens":0`, `"max_tokens":-1`, `"max_tokens":1e9`, `"max_tokens":"5"`, `"max_output_tokens":-1`, `"max_output_tokens":9223372036854775808`, `"max_output_tokens":[]`,
		`"max_tool_calls":1e3`, `"max_tool_calls":-5`, `"tools":[{"type":"web_search"}]`, `"tools":[{"type":"web_search_20250305","name":"web_search"}]`, `"tools":[{"type":"web_search_20250305","name":"w","max_uses":-1}]`,
		`"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]`, `"tools":"all"`, `"tools":[[]]`, `"tools":[{"type":"computer_20250124"}]`,
		`"previous_response_id":"resp_1"`, `"conversation":"c"`, `"prompt":{"id":"p"}`, `"background":true`, `"background":"true"`, `"mcp_servers":[{}]`, `"container":"c"`,
		`"fallbacks":[{"model":"x"}]`, `"context_management":{"edits":[{"type":"compact_20260112"}]}`, `"speed":"fast"`, `"service_tier":"ultrafast"`, `"inference_geo":"us"`,
		`"n":129`, `"n":0`, `"best_of":1000`, `"stream":1`, `"stream":"true"`, `"stream_options":{"include_usage":false}`, `"Max_Tokens":5`, `"max\u005ftokens":5`,
		`"input":[{"type":"item_reference","id":"x"}]`, `"input":[{"type":"message","content":[{"type":"input_file","file_id":"f"}]}]`, `"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png"}]}]`, `"input":{"a":1}`, `"input":[1,2,"x"]`,
		`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]`,
		`"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://x"}}]}]`, `"messages":{}`, `"messages":[null]`, `"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"99h"}}]}]`,
		`"documents":[]`, `"documents":{}`, `"documents":[1]`, `"documents":[{"image":"x"}]`, `"documents":["a"]`, `"texts":["a"]`, `"query":{"image":"x"}`, `"query":null`, `"max_tokens_per_doc":0`, `"max_tokens_per_doc":-4`,
		`"prompt":[[1,2],[3]]`, `"prompt":[1.5]`, `"prompt":[[["x"]]]`, `"prompt":null`, `"prompt_embeds":"AAAA"`, `"suffix":5`, `"model":"openai/gpt-5.4-mini"`, `"model":null`,
		`"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000), `"x":"\ud800"`, "\"x\":\"\xff\"", `"a":1,"a":2`, `"x":{"a":{"b":1,"b":2}}`,
	}
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	total, admitted := 0, 0
	for e, good := range calls() {
		bodies := []string{"", "null", "[]", "{}", good[:len(good)-1], good + good, " \n" + good, "\xef\xbb\xbf" + good}
		for _, m := range members {
			bodies = append(bodies, strings.Replace(good, "{", "{"+m+",", 1), `{"model":"anthropic/claude-sonnet-5.5",`+m+"}", `{"model":"voyage/none",`+m+"}")
		}
		for _, body := range bodies {
			total++
			out := check(t, s, on(e, authorized("req-1", body)))
			seen := ledger.take()
			if out.GetOkResponse() != nil {
				admitted++
				if len(seen) != 1 || (seen[0].Bound <= 0) != (seen[0].Unbounded != nil) {
					t.Fatalf("%s %.200q: a yes with %+v", e, body, seen)
				}
				continue
			}
			var err error
			if e == pricing.Messages {
				_, err = anthropicRefusal(out)
			} else {
				_, err = refusal(out)
			}
			if err != nil || len(seen) != 0 || out.GetDeniedResponse().GetStatus().GetCode() >= 500 {
				t.Fatalf("%s %.200q: %v, reserved %+v: %v", e, body, err, seen, out)
			}
		}
	}
	if total < 1000 || admitted == 0 {
		t.Errorf("%d of %d bodies admitted", admitted, total)
	}
}

func TestEndpointsOfRoutesAreAllKnown(t *testing.T) {
	for _, api := range []string{"Chat", "chat ", "messages,chat", "videos", "\x00", strings.Repeat("a", 9999)} {
		if slices.Contains(pricing.Endpoints(), pricing.Endpoint(api)) {
			t.Fatalf("%q is an endpoint", api)
		}
		if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), on(pricing.Endpoint(api), authorized("r", goodBody)))); err != nil || e.reason() != "api_unknown" {
			t.Errorf("%q: %+v, %v", api, e, err)
		}
	}
}

// TestPathTellsTheAPI where the route does not: its caller's key, and the body.
func TestPathTellsTheAPI(t *testing.T) {
	at := func(path string, in *authv3.CheckRequest) *authv3.CheckRequest {
		in.Attributes.ContextExtensions, in.Attributes.Request.Http.Path = nil, path
		return in
	}
	answer := func(in *authv3.CheckRequest) string {
		out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), in)
		return out.GetDeniedResponse().GetBody() + out.GetOkResponse().String()
	}
	for _, e := range pricing.Endpoints() {
		body := calls()[e]
		for _, path := range e.Paths() {
			for _, more := range []string{"", "/", "?beta=true", "/?a=/v1/messages"} {
				if got, want := answer(at(path+more, authorized("r", body))), answer(on(e, authorized("r", body))); got != want || got == "" {
					t.Errorf("%s: %s, want %s", path+more, got, want)
				}
				strange := at(path+more, newCheck("r", body))
				strange.Attributes.ContextExtensions = map[string]string{envoy.ContextStep: envoy.StepKey}
				if got, want := answer(strange), answer(on(e, newCheck("r", body))); got != want || got == "" {
					t.Errorf("%s without a key: %s, want %s", path+more, got, want)
				}
			}
		}
	}
	for _, path := range []string{"", "/", "/v1", "/v1/", "/v1/budgets", "/v1/chat/completions//", "/v1/chat", "/v1/responses/resp_1", "/v1/rerank2", "/v3/rerank", "?/v1/messages"} {
		if e, err := refusal(check(t, newServer(t, keysWith(nil), &fakeLedger{}), at(path, authorized("r", goodBody)))); err != nil || e.reason() != "api_unknown" {
			t.Errorf("%q: %+v, %v", path, e, err)
		}
	}
}
