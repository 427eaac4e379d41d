package extauthz_test

import (
	"fmt"
	"testing"
)

// Where no budget watches a call, a missing bound passes and every other fault
// is refused: nobody but the provider would catch it later.
func TestOnlyAMissingBoundMayPassUnwatched(t *testing.T) {
	const priced, hi = `"model":"moonshot/kimi-k2.6"`, `"messages":[{"role":"user","content":"hi"}]`
	for _, tt := range []struct {
		body   string
		passes bool
		reason string
	}{
		{`{"model":"moonshot/no-such-price",` + hi + `}`, true, "model_not_priced"},
		{`{` + priced + `,"service_tier":"no-such-tier",` + hi + `}`, true, "tier_not_priced"},
		{`{` + priced + `,"tools":[{"type":"web_search"}],` + hi + `}`, true, "unbounded_tool"},
		{`{` + priced + `,"messages":[{"role":"assistant","content":null,"audio":{"id":"a"}}]}`, true, "unbounded_input"},
		{`{` + priced + `,"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}`, true, "unbounded_media"},

		{`{` + priced + `,"background":true,` + hi + `}`, false, "unsupported_feature"},
		{`{` + priced + `,"models":["a","b"],` + hi + `}`, false, "unsupported_feature"},
		{`{` + priced + `,"num_predict":100000,` + hi + `}`, false, "unsupported_feature"},
		{`{` + priced + `,"max_completion_tokens":2000000000,"n":128,` + hi + `}`, false, "field_invalid"},
	} {
		ledger := &fakeLedger{} // admits whatever it is asked, as if nothing watched
		out := check(t, newServer(t, keysWith(nil), ledger), authorized("r", tt.body))
		seen := ledger.take()
		if tt.passes {
			if out.GetOkResponse() == nil || len(seen) != 1 || seen[0].Unbounded == nil || seen[0].Unbounded.Reason != tt.reason || seen[0].Size != int64(len(tt.body)) {
				t.Errorf("%s: %v, reserved %+v; want a yes without a bound for %s", tt.body, out, seen, tt.reason)
			}
			continue
		}
		e, err := refusal(out)
		if err != nil || e.reason() != tt.reason || e.Error.Code != 400 || len(seen) != 0 {
			t.Errorf("%s: %s, %v, reserved %s; want a refusal for %s", tt.body, fmt.Sprint(out), err, fmt.Sprint(seen), tt.reason)
		}
	}
}
