package envoy_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

// fileLine is a line of the file log about a call.
func fileLine(call, token string) string {
	return `{"call":` + call + `,"copy":` + call + `,"rsv":` + token + `,"v":3}` + "\n"
}

const goodCall = `{"report":"usage 7:{\"a\":1}model 3:\"m\"done 4:true","cluster":"fake","code":200,"details":"via_upstream",` +
	`"flags":"-","id":"0c5f","ms":12,"start":"1795491834.000000123","tx_us":88,"type":"application/json"}`

func TestParseLogLine(t *testing.T) {
	got, err := envoy.ParseLogLine([]byte(fileLine(goodCall, `"tok"`)))
	if err != nil {
		t.Fatal(err)
	}
	want := envoy.LogLine{
		RequestID: "0c5f", Start: time.Unix(1795491834, 123).UTC(), Duration: 12 * time.Millisecond, Code: 200, Details: "via_upstream",
		Cluster: "fake", ContentType: "application/json", Sent: true,
		Report: envoy.Report{Token: "tok", Usage: `{"a":1}`, FirstUsage: `{"a":1}`, Model: `"m"`, Done: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseLogLineOfNothingSent(t *testing.T) {
	got, err := envoy.ParseLogLine([]byte(fileLine(`{"report":null,"cluster":null,"code":0,"details":null,"flags":"UAEX,DC","id":null,"ms":0,`+
		`"start":"1795491834.000000000","tx_us":null,"type":null}`, "null")))
	if err != nil {
		t.Fatal(err)
	}
	want := envoy.LogLine{Start: time.Unix(1795491834, 0).UTC(), Flags: "UAEX,DC"}
	if diff := cmp.Diff(want, got); diff != "" || !got.Cut() {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseLogLineRefuses(t *testing.T) {
	good := fileLine(goodCall, `"tok"`)
	for name, call := range map[string]string{
		"no duration": `{"start":"1.000000000"}`, "negative duration": `{"ms":-1,"start":"1.000000000"}`,
		"huge duration": `{"ms":9223372036854775807,"start":"1.000000000"}`, "fraction": `{"ms":1.5,"start":"1.000000000"}`,
		"no start": `{"ms":1}`, "start of another form": `{"ms":1,"start":"2026-11-24T00:00:00Z"}`, "negative start": `{"ms":1,"start":"-1.000000000"}`,
		"code": `{"ms":1,"start":"1.000000000","code":70000}`, "report not a text": `{"ms":1,"start":"1.000000000","report":{}}`,
		"malformed report": `{"ms":1,"start":"1.000000000","report":"usage 3:{}"}`,
	} {
		if got, err := envoy.ParseLogLine([]byte(fileLine(call, "null"))); err == nil {
			t.Errorf("%s: parsed as %+v", name, got)
		}
	}
	for name, line := range map[string]string{
		"empty": "", "torn": good[:100], "not an object": "[]", "two lines": good + good, "another schema": strings.Replace(good, `"v":3`, `"v":2`, 1),
		"no schema": strings.Replace(good, `,"v":3`, "", 1), "no token": strings.Replace(good, `"rsv":"tok",`, "", 1),
		"token not a text": strings.Replace(good, `"tok"`, "7", 1), "no copy": strings.Replace(good, "copy", "kopy", 1), "neither": `{"rsv":null,"v":3}`,
	} {
		if got, err := envoy.ParseLogLine([]byte(line)); err == nil {
			t.Errorf("%s: parsed as %+v", name, got)
		}
	}
}

// A disk that flips a bit must not change what a call is charged: the line is
// refused, or says what it said.
func TestParseLogLineNoticesEveryFlip(t *testing.T) {
	good := []byte(fileLine(goodCall, `"tok"`))
	want, err := envoy.ParseLogLine(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			line := bytes.Clone(good)
			line[i] ^= 1 << bit
			got, err := envoy.ParseLogLine(line)
			got.Token = want.Token // is sealed
			if err == nil && !cmp.Equal(got, want) {
				t.Errorf("bit %d of byte %d: %q parsed as %+v", bit, i, line, got)
			}
		}
	}
}

func TestPeekTokenIsNotFooled(t *testing.T) {
	line := `{"id":"\"rsv\":\"forged\"","rsv":"real"}`
	if got, ok := envoy.PeekToken([]byte(line)); !ok || string(got) != "real" {
		t.Errorf("PeekToken = %q, %v", got, ok)
	}
	for _, line := range []string{"", `{"rsv":null}`, `{"rsv":"torn`} {
		if got, ok := envoy.PeekToken([]byte(line)); ok {
			t.Errorf("PeekToken(%s) = %q", line, got)
		}
	}
}

func FuzzParseLogLine(f *testing.F) {
	f.Add([]byte(fileLine(goodCall, `"tok"`)))
	f.Add([]byte(fileLine(`{"ms":1,"start":"99999999999.999999999","report":"done 4:true"}`, "null")))
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := envoy.ParseLogLine(line)
		if err != nil {
			if diff := cmp.Diff(envoy.LogLine{}, l); diff != "" {
				t.Fatalf("an error with a value:\n%s", diff)
			}
			return
		}
		if l.Duration < 0 || l.Start.Unix() < 0 || l.Code < 0 || l.Usage != "" && l.FirstUsage == "" {
			t.Fatalf("%q parsed as %+v", line, l)
		}
		envoy.PeekToken(line)
	})
}

func TestDecodeReport(t *testing.T) {
	edits := []envoy.Edit{{At: 1, Del: 2, Ins: "x:1 2"}, {At: 3, Ins: "50%\r\né\x7f"}}
	if got, want := envoy.EncodeEdits(edits), "1 2 5:x:1 23 0 20:50%25%0D%0A%C3%A9%7F"; got != want {
		t.Errorf("edits %q, want %q", got, want)
	}
	decision := envoytest.Metadata(envoy.Decision{Token: "tok", StripUsage: true, Edits: edits})
	seen, err := structpb.NewStruct(map[string]any{"report": "usage 2:{}done 4:truelater 3:1:2framing 4:jsonunread 4:truefinished 4:8192upstream_status 3:402", "later": []any{1.0}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := envoytest.DecodeReport(map[string]*structpb.Struct{envoy.NamespaceDecision: decision, envoy.NamespaceReport: seen})
	if err != nil {
		t.Fatal(err)
	}
	want := envoy.Report{Token: "tok", Usage: "{}", FirstUsage: "{}", Done: true, Framing: envoy.FramingJSON, Unread: true, Finished: 8192, UpstreamStatus: 402}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := envoytest.DecodeReport(nil); err != nil || !cmp.Equal(got, envoy.Report{}) {
		t.Errorf("no metadata: %+v, %v", got, err)
	}
	for _, bad := range []any{
		1.0, nil, "usage", "usage ", "usage 2", "usage 2:{", "usage -1:{}", "usage +2:{}", "usage 99999999999999999999:{}", "2:{}", "upstream_status 4:1000", "upstream_status 1:x", "finished 5:16384",
	} {
		s, err := structpb.NewStruct(map[string]any{"report": bad})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := envoytest.DecodeReport(map[string]*structpb.Struct{envoy.NamespaceReport: s}); err == nil {
			t.Errorf("%v decoded as %+v", bad, got)
		}
	}
	s, err := structpb.NewStruct(map[string]any{"rsv": 1.0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envoytest.DecodeReport(map[string]*structpb.Struct{envoy.NamespaceDecision: s}); err == nil {
		t.Error("a token that is no text was accepted")
	}
}

func BenchmarkParseLogLine(b *testing.B) {
	line := []byte(fileLine(goodCall, `"tok"`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envoy.ParseLogLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
