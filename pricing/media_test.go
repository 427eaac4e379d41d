package pricing_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/fakeprovider"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// mediaCall is a call for images, speech, a transcript or a judgement.
type mediaCall struct {
	e    pricing.Endpoint
	m    pricing.Model
	body string // JSON, or a form
	form bool
	raw  bool // the answer has no report
	max  bool
}

func drawMediaCall(t *rapid.T, tb testing.TB, models []pricing.Model) mediaCall {
	m := rapid.SampledFrom(models).Draw(t, "model")
	s, _ := builtIn().Sheet(m.Slug)
	call := mediaCall{m: m, e: rapid.SampledFrom(s.Endpoints).Draw(t, "endpoint"), max: rapid.Bool().Draw(t, "max")}
	var fields []field
	add := func(name, text string) { fields = append(fields, field{name: name, text: text}) }
	maybe := func(name string, values ...string) {
		if v := rapid.SampledFrom(append(values, "")).Draw(t, name); v != "" {
			add(name, v)
		}
	}
	text := strings.Repeat("word ", rapid.SampledFrom([]int{1, 9, 200}).Draw(t, "words"))
	add("model", m.Slug)
	switch call.e {
	case pricing.Images, pricing.ImageEdits:
		add("prompt", text)
		maybe("quality", "low", "medium", "high", "auto")
		maybe("size", "1024x1024", "1024x1536", "1536x1024", "auto")
		maybe("n", "1", "3")
		if rapid.Bool().Draw(t, "stream") {
			add("stream", "true")
			maybe("partial_images", "0", "2")
		}
	case pricing.Speech:
		add("input", text)
		call.raw = rapid.Bool().Draw(t, "raw")
		if !call.raw {
			add("stream_format", "sse")
		}
	case pricing.Transcriptions, pricing.Translations:
		maybe("prompt", text)
		if format := rapid.SampledFrom([]string{"", "json", "text", "vtt"}).Draw(t, "format"); format != "" {
			add("response_format", format)
			call.raw = format != "json"
		} else {
			maybe("stream", "true", "false")
		}
		call.form = true
		fields = append(fields, field{name: "file", data: wav(rapid.IntRange(1, 200).Draw(t, "seconds"))})
	case pricing.Moderations:
		add("input", text)
	}
	if call.e == pricing.ImageEdits {
		call.form = true
		for range rapid.IntRange(1, 3).Draw(t, "images") {
			fields = append(fields, field{name: "image[]", data: []byte("x")})
		}
	}
	call.write(tb, fields)
	return call
}

func (call *mediaCall) write(tb testing.TB, fields []field) {
	if call.form {
		call.body = form(tb, fields...)
		return
	}
	var members []string
	for _, f := range fields {
		value := fmt.Sprintf("%q", f.text)
		if slices.Contains([]string{"n", "stream", "partial_images"}, f.name) {
			value = f.text
		}
		members = append(members, fmt.Sprintf("%q:%s", f.name, value))
	}
	call.body = "{" + strings.Join(members, ",") + "}"
}

// mediaPrice is what the provider bills.
func mediaPrice(m pricing.Model) fakeprovider.Price {
	var p fakeprovider.Price
	for _, r := range m.Row.Rates() {
		switch r.Kind {
		case "input":
			p.Input = r.PicoPerToken
		case "input_image", "input_audio":
			p.InputMedia = r.PicoPerToken
		case "output":
			p.Output = r.PicoPerToken
		case "output_image", "output_audio":
			p.OutputMedia = r.PicoPerToken
		}
	}
	s, _ := builtIn().Sheet(m.Slug)
	fees := s.Periods[len(s.Periods)-1].Fees
	p.Image, p.Character, p.Second = pictureFee(fees), fees["character"], (fees["audio_minute"]+59)/60
	switch m.Row.Family {
	case "gpt-image-2":
		p.Grid = map[string]int64{"low": 16, "medium": 48, "high": 96}
	case "gpt-image-2.5":
		p.Grid = map[string]int64{"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
	}
	return p
}

// pictureFee is what the cheapest image costs by the piece: which one the model
// draws is its own choice, and the fake has one price.
func pictureFee(fees map[string]int64) int64 {
	least := fees["image"]
	for kind, fee := range fees {
		if strings.HasPrefix(kind, "image_") && kind != "image_input" {
			least = min(least, fee)
		}
	}
	return least
}

func (call *mediaCall) serve(edited string) (*httptest.ResponseRecorder, fakeprovider.Bill) {
	p := fakeprovider.New(fakeprovider.Config{Models: map[string]fakeprovider.Price{call.m.UpstreamModel: mediaPrice(call.m)}, Dialect: habits[call.m.Provider]})
	p.SetFaults(fakeprovider.Faults{Max: call.max})
	req := httptest.NewRequest(http.MethodPost, "/v1"+call.e.Path(), strings.NewReader(edited))
	req.Header.Set("Content-Type", "application/json")
	if call.form {
		req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	}
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, req)
	return rec, p.Bill()
}

// Over all models for images, speech, recordings and judgements: what a provider
// bills is at most the bound. What it reports is charged to the nano-dollar; what
// it does not report is charged the bound.
func TestMediaIsBilledAtMostTheBound(t *testing.T) {
	c := mustLoad(t)
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool { return !mediaModel(m) })
	if len(models) < 25 {
		t.Fatalf("only %d models", len(models))
	}
	seen := map[pricing.Endpoint]int{}
	for range searches {
		rapid.Check(t, func(rt *rapid.T) {
			call := drawMediaCall(rt, t, models)
			bound, err := tryBound(c, call.e, call.body, noon())
			if call.form {
				bound, err = boundForm(t, c, call.e, call.body)
			}
			if err != nil {
				if refusal(t, err).Reason == "unbounded_media" && call.m.Provider == "xai" && call.e == pricing.ImageEdits {
					return // nobody has said what its input images cost
				}
				rt.Fatalf("%s %s: %v", call.e, short(call.body), err)
			}
			rec, bill := call.serve(apply(t, call.body, bound.Edits))
			if rec.Code != http.StatusOK {
				rt.Fatalf("%s: the provider answers %d %s", call.e, rec.Code, rec.Body)
			}
			if budget.Amount(bill.NanoUSD) > bound.Amount {
				rt.Fatalf("%s %s: billed %+v, bound %s\n%+v", call.e, call.m.Slug, bill, bound.Amount, bound.Lines())
			}
			answer := pair{status: 200, stream: strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream"), answer: rec.Body.String()}
			out := pricing.Charge(bound.Pin, bound.Amount, answer.evidence(), c.Served(call.m.Slug, noon()))
			switch {
			case out.Basis == budget.BasisUsage && out.Cost == budget.Amount(bill.NanoUSD) && !call.raw:
			case out.Basis == budget.BasisBound && out.Cost == bound.Amount && call.silent(bill):
			default:
				rt.Fatalf("%s %s: charged %+v of %s, billed %+v: %s", call.e, call.m.Slug, out, bound.Amount, bill, short(rec.Body.String()))
			}
			seen[call.e]++
		})
	}
	for _, e := range pricing.Endpoints() {
		if media(e) && !testing.Short() && seen[e] < searches-1 {
			t.Errorf("%s was seen %d times only", e, seen[e])
		}
	}
}

// silent reports whether the answer does not say what was used.
func (call *mediaCall) silent(bill fakeprovider.Bill) bool {
	several := strings.Contains(call.body, `"n":3`) || strings.Contains(call.body, `name="n"`+"\r\n\r\n3")
	streamed := strings.Contains(call.body, `"stream":true`) || strings.Contains(call.body, `name="stream"`+"\r\n\r\ntrue")
	return call.raw || bill.Images > 0 || bill.Characters > 0 || several && streamed || call.e == pricing.Moderations && call.m.Provider == "openai"
}

// What a body calls a quality or a size finds no price of another kind: a provider
// that reads no quality makes the image that costs most.
func TestImagePricesAreOfTheirKind(t *testing.T) {
	c := mustLoad(t)
	for body, want := range map[string]string{
		`{"model":"xai/grok-imagine-image","prompt":"","quality":"input"}`:                          "0.02",
		`{"model":"xai/grok-imagine-image","prompt":"","size":"input"}`:                             "0.02",
		`{"model":"xai/grok-imagine-image-2.0","prompt":"","quality":"1k","resolution":"2k"}`:       "0.06",
		`{"model":"xai/grok-imagine-image-2.0","prompt":"","quality":"high","resolution":"1k"}`:     "0.04",
		`{"model":"openai/dall-e-3","prompt":"","quality":"hd","size":"standard_1024x1024"}`:        "0.12",
		`{"model":"openai/dall-e-3","prompt":"","quality":"standard_1024x1024","size":"1024x1792"}`: "0.12",
		`{"model":"openai/dall-e-3","prompt":"","quality":"standard","size":"1024x1024"}`:           "0.04",
		`{"model":"openai/dall-e-2","prompt":"","quality":"256x256","size":"1024x1024"}`:            "0.02",
	} {
		call, err := pricing.ParseCall(pricing.Images, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Resolve(call.Model, noon())
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Bound(call, noon())
		if err != nil {
			t.Fatal(err)
		}
		if b.Amount != dollars(t, want) {
			t.Errorf("%s: bound is %s, want $%s", body, b.Amount, want)
		}
	}
}
