package accounting_test

import (
	"testing"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/internal/envoytest"
	"aigateway/pricing"
)

// A settlement carries the tokens of the report, and the answer's name is
// remembered with them for the calls that build on it.
func TestSettlementCarriesTokensAndRemembersTheAnswer(t *testing.T) {
	c, sealed := pricedCall(t, "openai", pricing.Responses, `{"model":"openai/gpt-5.5","max_output_tokens":10,"input":"hi"}`)
	report := envoy.Report{Usage: `{"input_tokens":10,"output_tokens":5,"input_tokens_details":{"cached_tokens":4}}`, Done: true, AnswerID: "resp_1"}
	l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", sealed), with("report", envoytest.ReportText(report)))))
	if err != nil {
		t.Fatal(err)
	}
	cfg, metrics := config(t, &fakeLedger{})
	cfg.Catalog = func() *pricing.Catalog { return c }
	cfg.Answers = accounting.NewAnswers()
	got := accounting.Settlement(cfg, &l)
	if want := (budget.Tokens{Input: 6, CacheRead: 4, Output: 5}); got.Basis != budget.BasisUsage || got.Tokens != want || got.Billed != 0 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := accounting.Remembered(cfg.Answers); n != 1 {
		t.Errorf("%d names are remembered, want 1", n)
	}
	if n := counted(t, metrics, "aig_absurd_bills_total", "test"); n != 0 {
		t.Errorf("%v absurd bills are counted", n)
	}
}
