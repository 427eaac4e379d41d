package envoy_test

import (
	"strings"
	"testing"

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
