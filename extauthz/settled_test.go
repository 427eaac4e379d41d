package extauthz_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"aigateway/extauthz"
	"aigateway/pricing"

	"github.com/prometheus/client_golang/prometheus"
)

// settled says what one name amounts to, and notes what it was asked.
type settled struct {
	tokens         int64
	keyID, model   string
	names          []pricing.StoredName
	whole, unknown bool
}

func (s *settled) Tokens(keyID, model string, names []pricing.StoredName, whole bool) (int64, bool) {
	s.keyID, s.model, s.names, s.whole = keyID, model, names, whole
	return s.tokens, !s.unknown
}

func (s *settled) Foreign(keyID, provider, id string) bool {
	return provider == "openai" && id == "msg_other"
}

// What a body only names holds what was settled for it, for the caller's key
// and the model that is called, and a whole context where nothing was.
func TestWhatIsNamedHoldsWhatWasSettled(t *testing.T) {
	ledger, known := &fakeLedger{}, &settled{tokens: 1000}
	catalog := newCatalog(t)
	s := serverOf(t, extauthz.Config{
		Keys: keysWith(nil), Ledger: ledger, Catalog: func() *pricing.Catalog { return catalog }, Sealer: newSealer(t), Now: func() time.Time { return noon },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry(), Settled: known,
	})
	bound := func(members string) int64 {
		body := `{"model":"openai/gpt-5.4-mini","max_output_tokens":100,` + members + `}`
		if out := check(t, s, on(pricing.Responses, authorized("r", body))); out.GetOkResponse() == nil {
			t.Fatalf("%s: %v", members, out)
		}
		seen := ledger.take()
		return int64(seen[len(seen)-1].Bound)
	}
	named, text := `"previous_response_id":"resp_1"`, `"previous_response_i":"resp_1_"`
	more := bound(named) - bound(text)
	if known.model != "openai/gpt-5.4-mini" || known.keyID == "" || len(known.names) != 1 || known.names[0].ID != "resp_1" || known.whole {
		t.Errorf("asked for %+v", known)
	}
	m, err := catalog.Resolve("openai/gpt-5.4-mini", noon)
	if err != nil {
		t.Fatal(err)
	}
	price := m.Row.Rates()[0].PicoPerToken
	if more > 1100*price/1000 || more < 900*price/1000 {
		t.Errorf("1,000 tokens hold %d nano-USD more, at %d pico-USD each", more, price)
	}
	if bound(named + `,"reasoning":{"context":"all_turns"}`); !known.whole {
		t.Error("the reasoning of all turns was not asked for")
	}
	known.names = nil
	if bound(`"conversation":"conv_1"`); known.names != nil {
		t.Errorf("a conversation was looked up: %+v", known.names)
	}
	known.unknown = true
	if whole := bound(named); whole < m.Row.Context*price/1000 {
		t.Errorf("what nobody settled holds %d nano-USD", whole)
	}
}
