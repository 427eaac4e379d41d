package accounting_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// A report of 10^15 tokens does not close every budget: it is charged at ten
// times a full context, counted, logged with what a person needs, and listed.
func TestAbsurdBill(t *testing.T) {
	const usage = `{"prompt_tokens":1000000000000000,"completion_tokens":12,"total_tokens":1000000000000012}`
	full := budget.Amount(262_144*950 + 262_144*4000) // kimi-k2.6: its context and its longest answer
	for _, channel := range []string{"stream", "file"} {
		t.Run(channel, func(t *testing.T) {
			w := newWorld(t)
			c := w.reserve()
			var logged bytes.Buffer
			w.log = slog.New(slog.NewTextHandler(&logged, nil))
			if channel == "stream" {
				w.stream(c.entry(t, usage, ""))
			} else {
				w.file(filepath.Join(t.TempDir(), "access.jsonl"), c.line(t, usage, ""))
			}
			w.eventually(10*full, 0)
			if got := counted(t, w.metrics, "aig_absurd_bills_total", channel); got != 1 {
				t.Errorf("aig_absurd_bills_total is %v", got)
			}
			for _, want := range []string{"an absurd bill", "request_id=", "reservation=", "tag=", "key=", "model=moonshot/kimi-k2.6", "billed=950000000.000048", "cost=" + (10 * full).String(), "prompt_tokens", "aigateway audit list", "aigateway adjustments create"} {
				if !strings.Contains(logged.String(), want) {
					t.Errorf("the log lacks %q: %s", want, logged.String())
				}
			}
			var entries []budget.AuditEntry
			listed := 0
			for deadline := time.Now().Add(time.Minute); listed == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) { // commits follow what is counted
				var err error
				if entries, err = w.ledger.AuditLog(t.Context(), 0, 100); err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Action == "absurd_bill" && strings.Contains(e.Detail, `"billed_nano_usd":950000000000048000`) {
						listed++
					}
				}
			}
			if listed != 1 {
				t.Errorf("it is listed %d times: %+v", listed, entries)
			}
		})
	}
}
