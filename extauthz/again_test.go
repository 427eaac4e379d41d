package extauthz_test

import (
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/internal/agentbody"
)

// TestConversationsAreRemembered: an agent's turns are remembered for its key and
// for no other, as far as there is memory, and decided as they are without.
func TestConversationsAreRemembered(t *testing.T) {
	const otherKey = goodKey + "x"
	body := string(agentbody.Chat("moonshot/kimi-k2.6", 128<<10, false))
	longer := strings.Replace(body, `,{"role":"user","content":"Go on.`, strings.Repeat(`,{"role":"user","content":"More."}`, 1000)+`,{"role":"user","content":"Go on.`, 1)
	for name, memory := range map[string]int64{"some": 0, "too little": 1} {
		keys := keysWith(nil)
		keys.keys[otherKey] = &budget.Key{ID: "key_2", Scopes: []budget.Scope{budget.ScopeInference}}
		ledger := &fakeLedger{}
		s := newServer(t, keys, ledger, func(c *extauthz.Config) { c.BodyMemory = memory })
		var held []int64
		for _, call := range []struct{ key, body string }{{goodKey, body}, {goodKey, body}, {goodKey, longer}, {otherKey, body}} {
			check(t, s, newCheck("req", call.body, "authorization", "Bearer "+call.key))
			held = append(held, s.Remembers())
		}
		switch {
		case memory == 1 && held[3] != 0:
			t.Errorf("%s: %d bytes are remembered", name, held)
		case memory == 0 && (held[0] == 0 || held[1] != held[0] || held[2] <= held[1] || held[2] > held[1]+held[0]/2 || held[3] != held[2]+held[0]):
			t.Errorf("%s: %d bytes are remembered, want each turn's own", name, held)
		}
		if b := ledger.seen; len(b) != 4 || b[0].Bound != b[1].Bound || b[0].Bound != b[3].Bound || b[2].Bound <= b[0].Bound {
			t.Errorf("%s: %d calls were reserved: %+v", name, len(b), b)
		}
	}
}
