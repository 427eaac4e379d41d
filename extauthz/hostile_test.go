package extauthz_test

import (
	"slices"
	"strings"
	"testing"
)

// Every combination of odd headers, tags and bodies is either a yes with its
// one reservation, or an envelope with none.
func TestHostileCombinations(t *testing.T) {
	auths := [][]string{
		{"authorization", "Bearer " + goodKey}, {}, {"authorization", ""}, {"authorization", "Bearer "}, {"authorization", "bearer  " + goodKey + " "},
		{"authorization", "Bearer \xff\xfe"}, {"authorization", "Bearer " + goodKey, "authorization", ""}, {"x-api-key", goodKey},
	}
	tags := [][]string{
		{}, {"x-aig-tag", "a/b"}, {"x-aig-tag", ""}, {"x-aig-tag", "\x00"}, {"x-aig-tag", strings.Repeat("é", 33)},
		{"x-aig-tag", "a", "x-aig-tag", ""}, {"x-aig-tag", "\u202e"}, {"x-aig-tag", "../../**"},
	}
	others := [][]string{
		{}, {"content-type", "application/jsonp"}, {"content-encoding", "br"}, {"upgrade", "h2c"}, {"x-envoy-auth-partial-body", "yes"},
		{"content-length", "-1"}, {"content-type", "application/json;;;=;charset"},
	}
	bodies := []string{
		goodBody, "", " ", "null", "[]", "{}", `{"model":1}`, `{"model":""}`, `{"model":"/"}`, `{"model":"moonshot/"}`, `{"model":"moonshot"}`,
		`{"model":"moonshot/kimi-k2.6"`, `{"model":"moonshot/kimi-k2.6"}{}`, "\xff\xfe{\x00}\x00", `{"model":"moonshot/kimi-k2.6","max_tokens":-1,"messages":[]}`,
		`{"model":"moonshot/kimi-k2.6","max_tokens":9223372036854775808,"messages":[]}`, `{"model":"moonshot/kimi-k2.6","max_tokens":1e3,"messages":[]}`,
		`{"model":"moonshot/kimi-k2.6","n":1000000,"messages":[]}`, `{"model":"moonshot/kimi-k2.6","tools":[{"type":"web_search"}],"messages":[]}`,
		`{"model":"moonshot/kimi-k2.6","stream":"yes","messages":[]}`, `{"model":"moonshot/kimi-k2.6","stream_options":[],"stream":true,"messages":[]}`,
		strings.Repeat("[", 100_000), `{"model":"moonshot/` + strings.Repeat("x", 5000) + `","messages":[]}`,
		"{\"model\":\"moonshot/kimi-k2.6\",\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}",
	}
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	total, admitted := 0, 0
	for _, auth := range auths {
		for _, tag := range tags {
			for _, other := range others {
				for _, body := range bodies {
					total++
					in := newCheck("req-1", body, slices.Concat(auth, tag, other)...)
					out := check(t, s, in)
					seen := ledger.take()
					if out.GetOkResponse() != nil {
						admitted++
						if len(seen) != 1 || seen[0].RequestID != "req-1" || out.GetDynamicMetadata().GetFields()["rsv"].GetStringValue() == "" {
							t.Fatalf("%q %q %q %.100q: a yes with %d reservations", auth, tag, other, body, len(seen))
						}
						continue
					}
					if _, err := refusal(out); err != nil || len(seen) != 0 {
						t.Fatalf("%q %q %q %.100q: %v, %d reservations: %v", auth, tag, other, body, err, len(seen), out)
					}
				}
			}
		}
	}
	if total < 300 || admitted == 0 || admitted > total/20 {
		t.Errorf("%d of %d combinations admitted", admitted, total)
	}
}
