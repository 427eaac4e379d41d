package envoy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"aigateway/envoy"
)

func TestVersionIsThePin(t *testing.T) {
	pin, err := os.ReadFile("../.envoy-version")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(pin)); got != envoy.Version {
		t.Errorf(".envoy-version is %s, envoy.Version is %s", got, envoy.Version)
	}
}

func TestLuaAgreesOnNamesAndLimits(t *testing.T) {
	for _, want := range []string{
		fmt.Sprintf("REPORT = %q", envoy.NamespaceReport), fmt.Sprintf("get(%q)", envoy.HeaderAnswer), fmt.Sprintf("remove(%q)", envoy.HeaderAnswer),
		fmt.Sprintf("SMALL_BODY = %d ", smallBody), fmt.Sprintf("MAX_GOT = %d ", maxGot), fmt.Sprintf("MAX_CAPTURE = %d ", envoy.MaxCapture), fmt.Sprintf("MAX_EVENT = %d ", envoy.MaxEvent),
		fmt.Sprintf("get(%q)", envoy.HeaderEdit), fmt.Sprintf("remove(%q)", envoy.HeaderEdit),
	} {
		if !strings.Contains(envoy.LuaSource(), want) {
			t.Errorf("filter.lua does not contain %q", want)
		}
	}
}

// request runs the request path and returns the body sent on and whether the
// edit header is gone.
func (v *vm) request(edits string, body *string) (sent string, passed bool, err error) {
	h, err := v.call("envoy_on_request", nil, map[string]any{envoy.HeaderEdit: edits}, body, nil)
	a := v.answer(h)
	_, has := a.Header[envoy.HeaderEdit]
	return a.Body, !has, err
}

// smallBody is the longest body that the filter gets at once.
const smallBody = 8192

// maxGot is how many bytes of a larger one it gets at once.
const maxGot = 98304

// TestSpliceInPieces: a large body is got in pieces, wherever it is cut.
func TestSpliceInPieces(t *testing.T) {
	var b strings.Builder
	for i := 0; b.Len() < 3*maxGot; i++ {
		fmt.Fprint(&b, i, " ")
	}
	v := newVM(t)
	for pieces := range 3 {
		for _, size := range []int{-1, 0, 1} {
			body := b.String()[:max(pieces*maxGot+size, smallBody+1)]
			for _, at := range []int{0, 9, len(body) - maxGot - 1, len(body) - maxGot, len(body) - maxGot + 1, maxGot - 1, maxGot, maxGot + 1, len(body) - 1, len(body)} {
				if at < 0 || at > len(body) {
					continue
				}
				del := min(1, len(body)-at)
				want := body[:at] + "text" + body[at+del:]
				got, passed, err := v.request(envoy.EncodeEdits([]envoy.Edit{{At: at, Del: del, Ins: "text"}}), &body)
				if err != nil || !passed || got != want {
					t.Errorf("%d bytes, edited at %d: passed %v, %v, %d bytes, want %d", len(body), at, passed, err, len(got), len(want))
				}
			}
		}
	}
}

func TestSpliceProperty(t *testing.T) {
	v := newVM(t)
	rapid.Check(t, func(rt *rapid.T) {
		body := string(rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(rt, "body"))
		if rapid.Bool().Draw(rt, "large") { // is got in pieces
			body += strings.Repeat("y", smallBody)
		}
		want, pos := "", 0
		var edits []envoy.Edit
		for range rapid.IntRange(1, 5).Draw(rt, "edits") {
			at := rapid.IntRange(pos, len(body)).Draw(rt, "at")
			del := rapid.IntRange(0, len(body)-at).Draw(rt, "del")
			ins := rapid.String().Draw(rt, "ins")
			edits = append(edits, envoy.Edit{At: at, Del: del, Ins: ins})
			want += body[pos:at] + ins
			pos = at + del
		}
		want += body[pos:]
		text := envoy.EncodeEdits(edits)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			rt.Fatalf("%q is not printable ASCII, which any header takes", text)
		}
		got, passed, err := v.request(text, &body)
		if err != nil || !passed || got != want {
			rt.Fatalf("splice(%q, %v) = %q, passed %v, %v; want %q", body, edits, got, passed, err, want)
		}
	})
}

func TestSpliceFailsClosed(t *testing.T) {
	for _, more := range []int{0, smallBody} {
		testSpliceFailsClosed(t, newVM(t), `{"model":"a"}`+strings.Repeat(" ", more))
	}
}

func testSpliceFailsClosed(t *testing.T, v *vm, body string) {
	t.Helper()
	for name, tc := range map[string]struct {
		edits string
		body  *string
	}{
		"empty edits":      {"", &body},
		"no body":          {"0 0 1:x", nil},
		"no edits":         {"1", &body},
		"malformed":        {"0 0 1:x junk", &body},
		"text cut short":   {"0 0 9:x", &body},
		"beyond the body":  {fmt.Sprint(len(body), " 1 0:"), &body},
		"overlapping":      {"3 2 0:4 1 0:", &body},
		"descending":       {"3 0 0:2 1 0:", &body},
		"negative":         {"-1 0 0:", &body},
		"number too large": {strings.Repeat("9", 400) + " 0 0:", &body},
	} {
		if _, passed, err := v.request(tc.edits, tc.body); passed || err == nil {
			t.Errorf("%s: passed %v, error %v; want an error and the header kept", name, passed, err)
		}
	}
}

func TestRequestWithoutEditsIsUntouched(t *testing.T) {
	v := newVM(t)
	body := "{}"
	h, err := v.call("envoy_on_request", map[string]any{"rsv": "t"}, map[string]any{}, &body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.RawGetString("buffer").String() != "nil" {
		t.Error("the filter asked for a body it had nothing to do with")
	}
}

// documents are answers that are not streams.
var documents = []struct {
	name, body string
	report     map[string]any
}{
	{"chat", `{"id":"1","model":"m","choices":[{"message":{"content":"\"usage\":{}"}}],"usage":` + use + `,"service_tier":"default"}`,
		map[string]any{"usage": use, "first_usage": use, "model": `"m"`, "service_tier": `"default"`, "done": true}},
	{"deepseek's blank lines", "\n\n\r\n\n" + `{"usage": ` + use + ` }` + "\n", map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"anthropic", `{"type":"message","usage":` + use + `}`, map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"cohere rerank", `{"meta":{"billed_units":{"search_units":1.5}},"results":[]}`,
		map[string]any{"usage": `{"billed_units":{"search_units":1.5}}`, "first_usage": `{"billed_units":{"search_units":1.5}}`, "done": true}},
	{"meta of another kind", `{"meta":{"x":1}}`, map[string]any{"done": true}},
	{"explicit null", `{"usage":null,"model":null}`, map[string]any{"done": true}},
	{"null does not undo", `{"usage":` + use + `,"usage":null}`, map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"cut", `{"model":"m","usage":` + use + `,"x":[`, map[string]any{"usage": use, "first_usage": use, "model": `"m"`}},
	{"empty", "", map[string]any{}},
	{"not an object", `"usage"`, map[string]any{"unread": true}},
	{"embeddings", `{"data":[{"embedding":[0.1,-2e-3,3],"index":0},{"embedding":[],"index":1},{"embedding":[1,"]",[2],{"usage":{}}]}],"usage":` + use + `}`,
		map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"numbers and arrays", `{"a":{"b":[1,[2],3],"c":[4,{"d":[5]},6]},"usage":` + use + `}`, map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"deeper is not looked at", `{"a":{"usage":{}},"choices":[{"usage":{}}],"message":{"delta":{"usage":{}}},"response":[{"usage":{}}]}`, map[string]any{"done": true}},
	{"not an object is not a report", `{"usage":"{","usage":[{}],"usage":7}`, map[string]any{"done": true}},
	{"escapes", `{"a\\":"\\\\\"","b":"\\","usage":{"k\"}":"}\\"},"model":"m\"\u00e9"}`,
		map[string]any{"usage": `{"k\"}":"}\\"}`, "first_usage": `{"k\"}":"}\\"}`, "model": `"m\"\u00e9"`, "done": true}},
	{"long names", `{"` + strings.Repeat("usage", 100) + `":1,"usage` + strings.Repeat("x", 20) + `":{},"usage":{"a":1}}`,
		map[string]any{"usage": `{"a":1}`, "first_usage": `{"a":1}`, "done": true}},
	{"too long to capture", `{"model":"` + strings.Repeat("m", envoy.MaxCapture) + `","usage":{"a":1}}`, map[string]any{"usage": `{"a":1}`, "first_usage": `{"a":1}`, "done": true}},
	{"an empty report is none", `{"usage":` + use + `,"usage":{ }}`, map[string]any{"usage": use, "first_usage": use, "done": true}},
	{"longest to capture", `{"model":"` + strings.Repeat("m", envoy.MaxCapture-2) + `"}`,
		map[string]any{"model": `"` + strings.Repeat("m", envoy.MaxCapture-2) + `"`, "done": true}},
}

func TestJSONSplitAtEveryByte(t *testing.T) {
	v := newVM(t)
	for _, tc := range documents {
		t.Run(tc.name, func(t *testing.T) {
			v.t = t
			if json.Valid([]byte(tc.body)) {
				if diff := cmp.Diff(tc.report, money(refJSON(tc.body))); diff != "" {
					t.Fatalf("reference (-want +got):\n%s", diff)
				}
			}
			checkJSON(t, v, tc.report, tc.body)
			step := 1 + len(tc.body)/800
			for i := 1; i < len(tc.body); i += step {
				checkJSON(t, v, tc.report, tc.body[:i], tc.body[i:])
			}
			if len(tc.body) < 2000 {
				checkJSON(t, v, tc.report, strings.Split(tc.body, "")...)
			}
		})
	}
}

func checkJSON(t *testing.T, v *vm, report map[string]any, pieces ...string) {
	t.Helper()
	got := v.respond(jsn, true, pieces...)
	if diff := cmp.Diff(report, money(got.Report)); diff != "" {
		t.Fatalf("pieces %.300q: report (-want +got):\n%s", pieces, diff)
	}
	if got.Body != strings.Join(pieces, "") {
		t.Fatalf("pieces %.300q: body changed to %.300q", pieces, got.Body)
	}
}

func genJSON(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := 7
		if depth > 0 {
			kinds = 10
		}
		ws := func() string { return rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t \r"}).Draw(t, "ws") }
		switch k := rapid.IntRange(0, kinds-1).Draw(t, "kind"); k {
		case 0:
			return "null"
		case 1:
			return "true"
		case 2:
			return rapid.SampledFrom([]string{"0", "-1.5e3", "12"}).Draw(t, "number")
		case 3, 4:
			return rapid.SampledFrom([]string{`""`, `"a"`, `"\\"`, `"\""`, `"]},:{[\\\""`, `"\"usage\":{}"`, `"\u0022"`}).Draw(t, "string")
		case 5:
			return "[1, 2,-3]"
		case 6:
			return `{"usage":{"a":1}}`
		case 7:
			items := rapid.SliceOfN(genJSON(depth-1), 0, 4).Draw(t, "items")
			return "[" + ws() + strings.Join(items, ws()+","+ws()) + ws() + "]"
		default:
			var ms []string
			for range rapid.IntRange(0, 5).Draw(t, "n") {
				key := rapid.SampledFrom([]string{"usage", "usage", "model", "type", "choices", "message", "response", "delta", "tool_usage", "meta", `us\u0061ge`, `\"usage`, "x", "service_tier", "billed_units"}).Draw(t, "key")
				ms = append(ms, ws()+`"`+key+`"`+ws()+":"+ws()+genJSON(depth-1).Draw(t, "value")+ws())
			}
			return "{" + strings.Join(ms, ",") + "}"
		}
	})
}

func TestJSONProperty(t *testing.T) {
	v := newVM(t)
	rapid.Check(t, func(rt *rapid.T) {
		doc := genJSON(4).Draw(rt, "doc")
		if !json.Valid([]byte(doc)) {
			rt.Fatalf("generator made invalid JSON: %s", doc)
		}
		got := v.respond(jsn, false, split(doc, rapid.SliceOfN(rapid.IntRange(0, len(doc)), 0, 5).Draw(rt, "cuts"))...)
		if diff := cmp.Diff(refJSON(doc), normal(got.Report)); diff != "" {
			rt.Fatalf("%s: report (-want +got):\n%s", doc, diff)
		}
		event := "data: " + strings.NewReplacer("\r", " ", "\n", "\ndata: ").Replace(doc) + "\n\n"
		compare(rt, v, event, true, []int{rapid.IntRange(0, len(event)).Draw(rt, "cut")})
	})
}

func FuzzJSON(f *testing.F) {
	for _, tc := range documents {
		f.Add(tc.body, uint16(5), uint16(11))
	}
	f.Add("x\\", uint16(1), uint16(2)) // as zlib begins
	v := newVM(f)                      // one per fuzzing process
	f.Fuzz(func(t *testing.T, doc string, a, b uint16) {
		v.t = t
		whole := normal(v.respond(jsn, false, doc).Report)
		cut := normal(v.respond(jsn, false, split(doc, []int{int(a) % (len(doc) + 1), int(b) % (len(doc) + 1)})...).Report)
		if diff := cmp.Diff(whole, cut); diff != "" {
			t.Fatalf("%q (-whole +cut):\n%s", doc, diff)
		}
		if json.Valid([]byte(doc)) && refLoggable(doc) {
			if diff := cmp.Diff(refJSON(doc), whole); diff != "" {
				t.Fatalf("%q: report (-want +got):\n%s", doc, diff)
			}
		}
	})
}

func TestWithoutDecisionNothingHappens(t *testing.T) {
	v := newVM(t)
	for _, decision := range []map[string]any{nil, {}} {
		h, err := v.call("envoy_on_response", decision, map[string]any{":status": "401", "content-type": jsn}, nil, []string{"{}"})
		if err != nil {
			t.Fatal(err)
		}
		if a := v.answer(h); len(a.Report) != 0 || a.Header[":status"] != "401" || a.Body != "{}" {
			t.Errorf("got %+v, want an untouched answer", a)
		}
	}
}

// An error may be one of Envoy's own, unless it has a report.
func TestErrorIsDoneOnlyWithAReport(t *testing.T) {
	v := newVM(t)
	for body, want := range map[string]map[string]any{
		`{"usage":{"a":1}}`:    {"usage": `{"a":1}`, "first_usage": `{"a":1}`, "done": true},
		`{"usage":{"a":1},"b"`: {"usage": `{"a":1}`, "first_usage": `{"a":1}`},
		`{"error":{"a":1}}`:    {},
		`{"usage":{}}`:         {},
		"<html>oops</html>":    {},
		"upstream is too slow": {},
	} {
		h, err := v.call("envoy_on_response", map[string]any{"rsv": "t"}, map[string]any{":status": "504", "content-type": jsn}, nil, []string{body})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, money(v.answer(h).Report)); diff != "" {
			t.Errorf("%s: report (-want +got):\n%s", body, diff)
		}
	}
}

func TestProviderRefusalIsReplaced(t *testing.T) {
	v := newVM(t)
	for _, status := range []string{"401", "402", "403"} {
		body := "secret words about our account"
		h, err := v.call("envoy_on_response", map[string]any{"rsv": "t"},
			map[string]any{":status": status, "content-type": "text/plain", "www-authenticate": "x", "content-encoding": "gzip"}, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := v.answer(h)
		var env struct {
			Error struct {
				Type     string
				Code     int
				Metadata map[string]any
			}
		}
		if err := json.Unmarshal([]byte(a.Body), &env); err != nil {
			t.Fatalf("%s: body %q: %v", status, a.Body, err)
		}
		if env.Error.Type != "provider_error" || env.Error.Code != 502 || fmt.Sprint(env.Error.Metadata["upstream_status"]) != status {
			t.Errorf("%s: envelope %s", status, a.Body)
		}
		want := map[string]string{":status": "502", "content-type": "application/json", "x-should-retry": "false"}
		if diff := cmp.Diff(want, a.Header); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", status, diff)
		}
		if fmt.Sprint(a.Report["upstream_status"]) != status {
			t.Errorf("%s: report %v", status, a.Report)
		}
	}
}
