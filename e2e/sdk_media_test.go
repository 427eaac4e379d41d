package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"
)

// mediaModels are the provider's, one for each way to bill images and audio.
func mediaModels() map[string]fakeprovider.Price {
	return map[string]fakeprovider.Price{
		"image":  {Input: 5_000_003, InputMedia: 8_000_001, Output: 10_000_001, OutputMedia: 32_000_007},
		"piece":  {Image: 40_001_000_000},
		"voice":  {Character: 15_000_000},
		"second": {Second: 100_000_000},
		"listen": {Input: 2_500_001, InputMedia: 2_500_001, Output: 10_000_003},
		"judge":  {Input: 100_000},
	}
}

const mediaProvider = `  media: {preset: openai_compatible, base_url: "URL/v1", api_key: ` + providerKey + `, apis: [chat, images, image_edits, speech, transcriptions, translations, moderations]}
`

const mediaRows = `
- model: media/image
  family: gpt-image
  prices: [{source: e2e, checked_at: 2026-01-01, input: "5.000003", input_image: "8.000001", output: "10.000001", output_image: "32.000007"}]
- model: media/piece
  prices: [{source: e2e, checked_at: 2026-01-01, input: "0", output: "0", fees: {image: "0.040001"}}]
- model: media/voice
  prices: [{source: e2e, checked_at: 2026-01-01, input: "0", output: "0", fees: {character: "0.000015"}}]
- model: media/second
  prices: [{source: e2e, checked_at: 2026-01-01, input: "0", output: "0", fees: {audio_minute: "0.006"}}]
- model: media/listen
  family: transcription-tokens
  limits: {context: 16000, max_output: 2000}
  prices: [{source: e2e, checked_at: 2026-01-01, input: "2.500001", input_audio: "2.500001", output: "10.000003"}]
- model: media/judge
  prices: [{source: e2e, checked_at: 2026-01-01, input: "0.1", output: "0"}]
`

func mediaGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	p, address := startProvider(t, fakeprovider.Config{Models: mediaModels(), Dialect: fakeprovider.Mistral, KeepAnswers: true})
	g.provider["media"] = p
	g.settings["Extra"] = strings.Replace(mediaProvider, "URL", address, 1)
	g.writeConfig()
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.replaceConfig(string(text) + mediaRows)
	g.startRun()
	return g
}

// The unmodified SDKs of OpenAI draw, edit, speak, listen and judge through the
// gateway: bytes arrive as they were sent, but for the model's name, and the
// books agree with the provider's bill.
func TestSDKMedia(t *testing.T) {
	t.Parallel()
	g := mediaGateway(t)
	r := startRecorder(t, g.url)
	errors := map[string]sdkError{
		"refused":       {402, "APIStatusError", "budget_exceeded", "broke"},
		"refused_form":  {402, "APIStatusError", "budget_exceeded", "broke"},
		"wrong_key":     {401, "AuthenticationError", "authentication_error", "key"},
		"unknown_model": {404, "NotFoundError", "model_not_found", "nobody"},
		"bad_field":     {400, "BadRequestError", "invalid_request_error", "n"},
	}
	t.Run("suites", func(t *testing.T) {
		for name, command := range map[string][]string{"media-python": {"python/bin/python", "media.py"}, "media-node": {"node", "media.mjs"}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.setBudget(name+"/broke", 1)
				for what := range strings.FieldsSeq("image edit transcript transcript_by_second speech") {
					g.setBudget(name+"/"+what, 10_000)
				}
				results := runSuite(t, r.url, name, command)
				for what, want := range errors {
					got := results[what]
					if want.class == "APIStatusError" && command[0] == "node" {
						want.class = "APIError"
					}
					if got.Status != want.status || got.Class != want.class || got.Type != want.kind || !strings.Contains(got.Message, want.message) {
						t.Errorf("%s: %+v, want %+v", what, got, want)
					}
					delete(results, what)
				}
				if n := len(r.of(name + "/broke")); n != 2 {
					t.Errorf("the SDK sent %d requests for two refusals: no retry can help", n)
				}
				wantMedia(t, g, r, name, results)
			})
		}
	})
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// wantMedia compares each case with the provider's record of it.
func wantMedia(t *testing.T, g *gateway, r *recorder, name string, results map[string]answered) {
	t.Helper()
	calls := g.enteredCalls(t, "media", name, results)
	for what, got := range results {
		call, sent := calls[name+"/"+what], r.of(name+"/"+what)
		if len(sent) != 1 {
			t.Errorf("%s: the SDK sent %d requests, want 1", what, len(sent))
			continue
		}
		restored := bytes.Replace(call.Body, []byte(`"model":"`), []byte(`"model":"media/`), 1)
		if call.Body[0] != '{' { // a form
			restored = bytes.Replace(call.Body, []byte("\r\n\r\n"+call.Model), []byte("\r\n\r\nmedia/"+call.Model), 1)
		}
		if !bytes.Equal(restored, sent[0].request) {
			t.Errorf("%s: the provider got other bytes than the SDK sent: %d and %d", what, len(call.Body), len(sent[0].request))
		}
		if !bytes.Equal(call.Answer, sent[0].answer) {
			t.Errorf("%s: the client got other bytes than the provider sent", what)
		}
		if got.Text == "" || got.Output != call.Billed.CompletionTokens && got.Output != 0 || call.Billed.NanoUSD == 0 {
			t.Errorf("%s: %+v, billed %+v", what, got, call.Billed)
		}
	}
}

// What a form must not be passes neither Envoy nor the check, and a file as large
// as a body may be is read.
func TestForms(t *testing.T) {
	t.Parallel()
	g := mediaGateway(t)
	part := func(head, text string) string {
		return "--b\r\nContent-Disposition: form-data; name=" + head + "\r\n\r\n" + text + "\r\n"
	}
	wav := "RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\x00\x00\x00\x00"
	call := func(kind string, body ...string) reply {
		header := tagged("form/x")
		header.Set("Content-Type", kind)
		return g.insist(http.MethodPost, g.url+"/v1/audio/transcriptions", strings.Join(body, ""), header)
	}
	const form = "multipart/form-data; boundary=b"
	model, user, file := part(`"model"`, "media/second"), part(`"user"`, "form/x"), part(`"file"; filename="a.wav"`, wav+strings.Repeat("\x80", 7<<20))
	if r := call(form, model, user, file, "--b--\r\n"); r.err != nil || r.status != http.StatusOK {
		t.Errorf("a file of 7 MiB: %d %s %v", r.status, r.body, r.err)
	}
	for what, r := range map[string]reply{
		"no end":         call(form, model, user, file),
		"a model twice":  call(form, model, model, file, "--b--\r\n"),
		"another kind":   call("multipart/mixed; boundary=b", model, file, "--b--\r\n"),
		"two boundaries": call(form+"; boundary=c", model, file, "--b--\r\n"),
		"no boundary":    call("multipart/form-data", model, file, "--b--\r\n"),
	} {
		wantError(t, r, http.StatusBadRequest, "invalid_request_error")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	big := call(form, model, part(`"file"; filename="a.wav"`, wav+strings.Repeat("\x80", 9<<20)), "--b--\r\n")
	wantError(t, big, http.StatusRequestEntityTooLarge, "request_too_large")
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}
