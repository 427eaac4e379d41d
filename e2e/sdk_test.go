package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// sdkUsage is a usage report as an SDK's user sees it.
type sdkUsage struct{ Prompt, Completion int64 }

type sdkPlain struct {
	Model, Finish string
	Texts         []string
	Usage         sdkUsage
}

type sdkStream struct {
	Text        string
	Usage       []sdkUsage
	EmptyChunks int `json:"empty_chunks"`
	Chunks      int
}

type sdkFailure struct {
	Class, Message, Type string
	Status, Requests     int
	Metadata             map[string]any
}

// sdkRun is what sdk/calls.py and sdk/calls.mjs print.
type sdkRun struct {
	Results struct {
		Plain, Choices, Unicode sdkPlain
		NoCap                   sdkPlain `json:"no_cap"`
		Stream                  sdkStream
		StreamWithUsage         sdkStream `json:"stream_with_usage"`
		Embeddings              struct {
			Model             string
			Items, Dimensions int
			Usage             sdkUsage
		}
		Refused       sdkFailure
		RefusedStream sdkFailure `json:"refused_stream"`
		WrongKey      sdkFailure `json:"wrong_key"`
		UnknownModel  sdkFailure `json:"unknown_model"`
		BadField      sdkFailure `json:"bad_field"`
		Models        []string
	}
	Sent [][]byte // the request bodies, in order
}

func TestSDKs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command []string
		classes map[int]string // status -> the SDK's exception
	}{
		"openai-python": {
			[]string{"python/bin/python", "calls.py"},
			map[int]string{402: "APIStatusError", 401: "AuthenticationError", 404: "NotFoundError", 400: "BadRequestError"},
		},
		"openai-node": {
			[]string{"node", "calls.mjs"},
			map[int]string{402: "APIError", 401: "AuthenticationError", 404: "NotFoundError", 400: "BadRequestError"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := runGateway(t)
			g.setBudget("sdk/capped", 1000)
			g.setBudget("sdk/broke", 1)
			run := runSDK(t, g, test.command)
			checkSDKAnswers(t, g, run)
			checkSDKErrors(t, run, test.classes)
			checkSentBytes(t, g, run)
			g.settle(time.Minute)
			g.wantBooksEqual(t)
		})
	}
}

// runSDK runs one of the scripts against g.
func runSDK(t *testing.T, g *gateway, command []string) sdkRun {
	t.Helper()
	sdk, err := filepath.Abs("../bin/sdk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(sdk, "installed")); err != nil {
		t.Fatalf("the SDKs are missing; run: make sdks\n%v", err)
	}
	script := exec.Command(filepath.Join(sdk, command[0]), filepath.Join("sdk", command[1]))
	script.Env = append(os.Environ(), "BASE_URL="+startRecorder(t, g.url).url, "API_KEY="+adminKey, "MODEL=fake/m1", "SDK_DIR="+filepath.Join(sdk, "js"))
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, stderr.String())
	}
	var run sdkRun
	if err := json.Unmarshal(out, &run); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return run
}

func checkSDKAnswers(t *testing.T, g *gateway, run sdkRun) {
	t.Helper()
	r := run.Results
	for name, got := range map[string]sdkPlain{"plain": r.Plain, "choices": r.Choices, "no_cap": r.NoCap, "unicode": r.Unicode} {
		if len(got.Texts) == 0 || got.Texts[0] == "" || got.Usage.Prompt == 0 || got.Usage.Completion == 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if len(r.Choices.Texts) != 2 {
		t.Errorf("choices: %+v", r.Choices)
	}
	if r.Stream.Text == "" || len(r.Stream.Usage) != 0 || r.Stream.EmptyChunks != 0 {
		t.Errorf("a stream without include_usage showed usage: %+v", r.Stream)
	}
	if with := r.StreamWithUsage; len(with.Usage) != 1 || with.EmptyChunks != 1 || with.Usage[0].Prompt == 0 || with.Usage[0].Completion == 0 {
		t.Errorf("a stream with include_usage: %+v, want one report", with)
	}
	if r.Embeddings.Items != 2 || r.Embeddings.Dimensions == 0 || r.Embeddings.Usage.Prompt == 0 {
		t.Errorf("embeddings: %+v", r.Embeddings)
	}
	if !slices.Contains(r.Models, "fake/m1") {
		t.Errorf("models: %v", r.Models)
	}
}

func checkSDKErrors(t *testing.T, run sdkRun, classes map[int]string) {
	t.Helper()
	r := run.Results
	for name, want := range map[string]struct {
		got     sdkFailure
		status  int
		kind    string
		message string // part of it
	}{
		"refused":        {r.Refused, 402, "budget_exceeded", "sdk/broke"},
		"refused_stream": {r.RefusedStream, 402, "budget_exceeded", "sdk/broke"},
		"wrong_key":      {r.WrongKey, 401, "authentication_error", ""},
		"unknown_model":  {r.UnknownModel, 404, "model_not_found", "nobody"},
		"bad_field":      {r.BadField, 400, "invalid_request_error", "max_tokens"},
	} {
		got := want.got
		if got.Status != want.status || got.Class != classes[want.status] || got.Type != want.kind || !strings.Contains(got.Message, want.message) {
			t.Errorf("%s: %+v, want %s %d %s with %q", name, got, classes[want.status], want.status, want.kind, want.message)
		}
		if got.Requests != 1 {
			t.Errorf("%s: the SDK sent %d requests, want 1: no retry can help", name, got.Requests)
		}
	}
	m := r.Refused.Metadata
	if m["reason"] != "cap_would_be_crossed" || m["cap"] != "0.01" || m["spent"] != "0.00" || m["resets_at"] == nil {
		t.Errorf("refusal metadata %v", m)
	}
	if fits, ok := m["max_tokens_that_fit"].(float64); !ok || fits < 1 || fits >= 5000 {
		t.Errorf("max_tokens_that_fit is %v, want what fits below 5000", m["max_tokens_that_fit"])
	}
}

// checkSentBytes compares what the provider received with what the SDK sent:
// only our edits may differ, and nothing of ours may leave.
func checkSentBytes(t *testing.T, g *gateway, run sdkRun) {
	t.Helper()
	calls := g.provider["fake"].Calls()
	var left [][]byte
	for _, body := range run.Sent {
		if !bytes.Contains(body, []byte("sdk/broke")) && !bytes.Contains(body, []byte("no-such-model")) && !bytes.Contains(body, []byte("max_tokens\":-1")) {
			left = append(left, body)
		}
	}
	left = left[:min(len(left), len(calls))] // the wrong key's body is the last one
	if len(calls) != 7 || len(left) != 7 {
		t.Fatalf("the provider got %d calls of %d sent, want 7", len(calls), len(left))
	}
	for i, c := range calls {
		if got := undoEdits(c.Body); !bytes.Equal(got, left[i]) {
			t.Errorf("call %d:\nclient sent  %s\nprovider got %s", i, left[i], c.Body)
		}
		wantProviderHeaders(t, c)
	}
	if capped := calls[2].Body; !bytes.Contains(capped, []byte(`"max_tokens":`)) {
		t.Errorf("no cap was put into a budgeted call without one: %s", capped)
	}
}

// undoEdits takes our edits out of a body that the provider received: members
// put before all others, and the model's name. No SDK begins with either member.
func undoEdits(body []byte) []byte {
	body = bytes.Replace(body, []byte(`"m1"`), []byte(`"fake/m1"`), 1)
	if rest, ok := bytes.CutPrefix(body, []byte(`{"stream_options":{"include_usage":true},`)); ok {
		body = append([]byte("{"), rest...)
	}
	if bytes.HasPrefix(body, []byte(`{"max_tokens":`)) {
		_, rest, _ := bytes.Cut(body, []byte(","))
		body = append([]byte("{"), rest...)
	}
	return body
}

func wantProviderHeaders(t *testing.T, c fakeprovider.Call) {
	t.Helper()
	if got := c.Header.Get("Authorization"); got != "Bearer "+providerKey {
		t.Errorf("the provider got authorization %q", got)
	}
	for name, values := range c.Header {
		low := strings.ToLower(name)
		if strings.HasPrefix(low, "x-aig-") || low == "cookie" || strings.Contains(strings.Join(values, ""), adminKey) {
			t.Errorf("the provider got the header %s: %v", name, values)
		}
	}
	if got := c.Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("the provider got accept-encoding %q: compressed usage is invisible", got)
	}
}
