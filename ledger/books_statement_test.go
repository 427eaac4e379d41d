package ledger_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

func TestStatement(t *testing.T) {
	b, _ := eventful(t)
	now := april.AddDate(0, 1, 0)
	text, err := inspect(t, b.dir).Statement(t.Context(), b.dir, "a", budget.Month.WindowAt(april, time.UTC), now)
	if err != nil {
		t.Fatal(err)
	}
	s, fingerprint, err := ledger.VerifyStatement(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.Tag != "a" || s.Month != "2026-04" || s.Complete || s.Requests != 8 || s.Adjusted != "0.000000015" || len(s.Lines) != 1 || len(s.Adjustments) != 1 {
		t.Errorf("statement %+v", s)
	}
	head, err := ledger.ParseHead(s.Chain)
	if err != nil {
		t.Fatal(err)
	}
	proven(t, b.dir, head)
	again, err := inspect(t, b.dir).Statement(t.Context(), b.dir, "a", budget.Month.WindowAt(april, time.UTC), now)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("the same statement differs (%v)", err)
	}
	for _, edit := range [][2]string{
		{s.Total, "0.00"}, {"\"tag\": \"a\"", "\"tag\": \"b\""}, {"2026-04-01", "2026-04-02"}, {"\n}\n", "\n}\n{}"}, {"statement\":", "Statement2\":"}, {"\"requests\": 8", "\"requests\":  8"},
	} {
		bad := strings.Replace(string(text), edit[0], edit[1], 1)
		if bad == string(text) {
			t.Fatalf("%q is not in the statement", edit[0])
		}
		if _, _, err := ledger.VerifyStatement([]byte(bad)); err == nil {
			t.Errorf("%q for %q is accepted", edit[1], edit[0])
		}
	}
	other := start(t)
	foreign, err := inspect(t, other.dir).Statement(t.Context(), other.dir, "a", budget.Month.WindowAt(april, time.UTC), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, f, err := ledger.VerifyStatement(foreign); err != nil || f == fingerprint {
		t.Errorf("another gateway's statement: key %s, %v", f, err)
	}
}

func FuzzVerifyStatement(f *testing.F) {
	f.Add([]byte(`{"statement":{},"public_key":"","signature":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, _, err := ledger.VerifyStatement(text); err == nil {
			t.Error("a statement that nobody signed is accepted")
		}
	})
}
