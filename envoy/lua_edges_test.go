package envoy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"

	"aigateway/envoy"
)

// A refusal of our provider key carries nothing of the provider's account.
func TestProviderRefusalLosesTheProvidersHeaders(t *testing.T) {
	v := newVM(t)
	for _, status := range []string{"401", "402", "403"} {
		body := "{}"
		h, err := v.call("envoy_on_response", map[string]any{"rsv": "t"}, map[string]any{
			":status": status, "content-type": jsn, "set-cookie": "session=ours", "www-authenticate": "Bearer", "retry-after": "7",
			"content-encoding": "br",
		}, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := v.answer(h).Header
		for _, name := range []string{"set-cookie", "www-authenticate", "retry-after", "content-encoding"} {
			if value, ok := got[name]; ok {
				t.Errorf("%s: the client gets %s: %s", status, name, value)
			}
		}
	}
}

// A usage too long to report does not hide the good one after it.
func TestUsageTooLongToReport(t *testing.T) {
	v := newVM(t)
	long := `{"padding":"` + strings.Repeat("x", 8*envoy.MaxCapture) + `","prompt_tokens":[]}`
	event := func(usage string) string { return `data: {"choices":[{}],"usage":` + usage + "}\n\n" }
	twice := func(one, two string) string { return `{"response":{"usage":` + one + `},"usage":` + two + `}` }
	for _, tt := range []struct {
		name, kind, body string
		want             any
	}{
		{"a good one follows in a stream", sse, event(long) + event(use), use},
		{"two good ones follow in a stream", sse, event(long) + event(use) + event(use2), use2},
		{"a good one follows in a document", jsn, twice(long, use), use},
		{"a good one follows in an event", sse, "data: " + twice(long, use) + "\n\n", use},
	} {
		for _, cut := range []int{0, 7, len(tt.body) / 2, len(tt.body) - 20} {
			got := v.respond(tt.kind, false, tt.body[:cut], tt.body[cut:]).Report
			if got["usage"] != tt.want {
				t.Errorf("%s, cut at %d: usage is %v, want %v", tt.name, cut, got["usage"], tt.want)
			}
		}
	}
}

// An error that quotes a credential in escapes is replaced; one that quotes it as it
// is, or in JSON's own way, loses it; all others pass as they are.
func TestErrorsQuoteNoCredentialInEscapes(t *testing.T) {
	v := newVM(t)
	const key = "sk-the/provider+key=="
	every := ""
	for _, c := range []byte(key) {
		every += fmt.Sprintf("\\u%04x", c)
	}
	for body, want := range map[string]string{
		`{"error":{"message":"you sent ` + key + `"}}`:                                     `{"error":{"message":"you sent [redacted]"}}`,
		`{"error":{"message":"you sent sk-the\/provider+key=="}}`:                          `{"error":{"message":"you sent [redacted]"}}`,
		`{"error":{"message":"you sent sk-the/provider\u002bkey\u003D="}}`:                 "",
		`{"error":{"message":"you sent ` + every + `"}}`:                                   "",
		`{"error":{"message":"/v1?key=sk-the%2Fprovider%2bkey%3D%3D"}}`:                    "",
		`{"error":{"message":"/v1?key=sk-the\u00252Fprovider%2bkey%3D%3D"}}`:               "",
		`<p>you sent sk-the/provider&#43;key&#x3D;=</p>`:                                   "",
		`{"error":{"message":"{\"key\":\"sk-the\\/provider+key==\"}"}}`:                    "",
		`{"error":{"raw":"{\"raw\":\"{\\\"key\\\":\\\"sk-the\\\\/provider+key==\"}"}}`:     "",
		`{"error":{"raw":"{\"key\":\"sk-the/provider\\u002bkey==\"}"}}`:                    "",
		`{"error":{"message":"/v1?next=%2Fv1%3Fkey%3Dsk-the%252Fprovider%252Bkey%253D="}}`: "",
		`<p>you sent sk-the&#0047;provider&#x002B;key==</p>`:                               "",
		`{"error":{"message":"100 % of \u00e9t\u00e9 &amp; sk-the%2F, \ud83d\ude00"}}`:     `{"error":{"message":"100 % of \u00e9t\u00e9 &amp; sk-the%2F, \ud83d\ude00"}}`,
		`{"error":{"message":"&#1234567; &; %zz \u12 \\"}}`:                                `{"error":{"message":"&#1234567; &; %zz \u12 \\"}}`,
	} {
		h, err := v.call("envoy_on_response", nil, map[string]any{":status": "400", "content-type": jsn, envoy.HeaderAnswer: "-\t-\tBearer " + key}, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := v.answer(h)
		switch {
		case want != "" && got.Body != want:
			t.Errorf("%s becomes %s, want %s", body, got.Body, want)
		case want == "" && (!strings.Contains(got.Body, "quotes the credentials") || strings.Contains(got.Body, "provider+") || got.Header[":status"] != "400"):
			t.Errorf("%s becomes %s with %s", body, got.Body, got.Header[":status"])
		}
	}
}

// Headers of errors and redirects that quote a credential go, too.
func TestHeadersQuoteNoCredential(t *testing.T) {
	v := newVM(t)
	const key = "sk-the/provider+key=="
	for _, status := range []string{"101", "307", "400", "401", "403", "500", "600"} {
		body := "{}"
		h, err := v.call("envoy_on_response", nil, map[string]any{
			":status": status, "x-request-id": "req-" + key, "openai-organization": "sk-the%2Fprovider%2Bkey==", "x-kept": "sk-the", envoy.HeaderAnswer: "-\t-\tBearer " + key,
		}, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := v.answer(h).Header
		if got["x-request-id"] != "" || got["openai-organization"] != "" || got["x-kept"] != "sk-the" {
			t.Errorf("%s: the headers are %v", status, got)
		}
	}
}

// An error too long to be held never becomes whole: what it was is told before. Of a
// 403 only its words tell whether it costs anything.
func TestErrorsThatAreNeverWhole(t *testing.T) {
	v := newVM(t)
	if err := v.l.DoString(`local make = stand_in
function stand_in(...)
  local h = make(...)
  h.body = function() error("Envoy answers in its place") end
  return h
end`); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[string]int{"400": 400, "422": 422, "504": 504, "403": 0} {
		h, err := v.call("envoy_on_response", nil, map[string]any{":status": status, envoy.HeaderAnswer: "-\t-\tBearer sk-the-key"}, nil, nil)
		if err == nil {
			t.Fatal("the body came")
		}
		if got := v.reported(h).UpstreamStatus; got != want {
			t.Errorf("%s is reported as %d", status, got)
		}
	}
}

// A run of bytes that is no UTF-8 is reported as so many question marks, and all
// that is passes: Go knows which is which.
func TestReportsAreUTF8(t *testing.T) {
	v := newVM(t)
	tails := []string{"", "\x7f", "\x80", "\x8f", "\x90", "\x9f", "\xa0", "\xbf", "\xc0"}
	for _, lead := range []byte("\x80\xbf\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff") {
		for _, second := range tails {
			for _, third := range []string{"", "\x7f", "\x80", "\xbf", "\xc0"} {
				for _, fourth := range []string{"", "\x80", "\xbf", "\xc0", "\x80\xc2\xa9"} {
					text := "m" + string([]byte{lead}) + second + third + fourth
					want := `"` + reportable(text) + `"`
					if got := v.respond(jsn, false, `{"model":"`+text+`"}`); got.Report["model"] != want {
						t.Fatalf("%q is reported as %q, want %q", text, got.Report["model"], want)
					}
				}
			}
		}
	}
}

// reportable is text with question marks for each run that is no UTF-8.
func reportable(text string) string {
	var out []byte
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && text[j] >= utf8.RuneSelf {
			j++
		}
		switch {
		case j == i:
			out = append(out, text[i])
			j++
		case utf8.ValidString(text[i:j]):
			out = append(out, text[i:j]...)
		default:
			out = append(out, strings.Repeat("?", j-i)...)
		}
		i = j
	}
	return string(out)
}

// A number below 100, or above 999, is no status: Envoy takes it from a provider, and
// clients take it for a broken connection. What no log has room for is not reported.
func TestStatusThatIsNone(t *testing.T) {
	v := newVM(t)
	for _, status := range []string{"1000", "99", "29", "21", "20", "4"} {
		for _, anthropic := range []bool{false, true} {
			headers, body := map[string]any{":status": status, "location": "http://elsewhere/"}, "{}"
			h, err := v.call("envoy_on_response", map[string]any{"rsv": "x", envoy.KeyAnthropic: anthropic}, headers, &body, nil)
			if err != nil {
				t.Fatal(err)
			}
			left := h.RawGetString("headers_map").(*lua.LTable)
			if got := left.RawGetString(":status").String(); got != "502" || left.RawGetString("location") != lua.LNil {
				t.Errorf("%s: %s, location %s", status, got, left.RawGetString("location"))
			}
			if text := v.answer(h).Body; !strings.Contains(text, "upstream_malformed") && !anthropic {
				t.Errorf("%s: %s", status, text)
			}
			if got := v.reported(h).UpstreamStatus; strconv.Itoa(got) != status && len(status) < 4 || len(status) > 3 && got != 0 {
				t.Errorf("%s: reported %d", status, got)
			}
		}
	}
}
