package ledger_test

import (
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

func TestAdjust(t *testing.T) {
	b := start(t)
	exact := b.budget("team/a", budget.Month, 1000)
	tree := b.budget("team/**", budget.Day, 1000)
	other := b.budget("team/b", budget.Month, 1000)
	b.settle(settlement(b.reserve("team/a", 600), 500))
	b.flush()
	charge := b.adjust(budget.Adjustment{Tag: "team/a", Amount: 40})
	if charge.ID != "adj_1" || charge.Actor != "key_ops" || charge.Time.IsZero() {
		t.Errorf("adjustment %+v", charge)
	}
	b.want(exact.ID, 540, 0)
	b.want(tree.ID, 540, 0)
	b.want(other.ID, 0, 0)
	b.adjust(budget.Adjustment{Tag: "team/a", Amount: -140})
	b.adjust(budget.Adjustment{BudgetID: tree.ID, Amount: -100})
	b.want(exact.ID, 400, 0)
	b.want(tree.ID, 300, 0)
	b.reserve("team/a", 600) // the refund is usable
	rows, err := b.UsageByTag(t.Context(), budget.Month.WindowAt(april, time.UTC), "team/a")
	if err != nil || len(rows) != 1 || rows[0].Cost != 400 || rows[0].Requests != 1 {
		t.Errorf("usage %+v, %v: want one request that cost 400", rows, err)
	}
	b.agree()
	b = b.crash()
	b.agree()
	all, err := b.Adjustments(t.Context(), "", 10)
	if err != nil || len(all) != 3 || all[0] != charge {
		t.Errorf("adjustments %+v, %v", all, err)
	}
	if page, err := b.Adjustments(t.Context(), "adj_1", 1); err != nil || len(page) != 1 || page[0].ID != "adj_2" {
		t.Errorf("second page %+v, %v", page, err)
	}
}

func TestAdjustIsIdempotent(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	a := budget.Adjustment{RequestID: "once", BudgetID: st.ID, Amount: 40, Reason: "late invoice"}
	first, err := b.Adjust(t.Context(), a, "admin")
	if err != nil {
		t.Fatal(err)
	}
	b = b.crash()
	again, err := b.Adjust(t.Context(), a, "somebody else")
	if err != nil || again != first {
		t.Errorf("repeat %+v, %v; want %+v", again, err, first)
	}
	if c := b.Counters(st.ID); c.Spent != 40 {
		t.Errorf("counters %+v, want 40 once", c)
	}
	a.Amount = 41
	_, err = b.Adjust(t.Context(), a, "admin")
	if e := asError(t, err); e.Kind != budget.KindConflict || e.Reason != "request_id_reused" {
		t.Errorf("another adjustment with its request id: %v", err)
	}
}

func TestAdjustAboveCapRefusesCalls(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.reserve("a", 60)
	b.adjust(budget.Adjustment{BudgetID: st.ID, Amount: 90})
	b.refuse("a", 1, "cap_held")
	b.sound()
	b.agree()
}

func TestAdjustRefundsCrashResidue(t *testing.T) {
	b, st := eventful(t)
	residue := b.Counters(st.ID).Residue
	if residue == 0 {
		t.Fatal("the story leaves no residue")
	}
	before := b.Counters(st.ID).Spent
	b.adjust(budget.Adjustment{BudgetID: st.ID, Amount: -residue})
	b.flush()
	if c := b.Counters(st.ID); c.Residue != 0 || c.Spent != before-residue {
		t.Errorf("counters %+v, want the residue of %d refunded", c, residue)
	}
	b.agree()
}

func TestInvalidAdjustments(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 50))
	ok := budget.Adjustment{RequestID: "r", BudgetID: st.ID, Amount: 5, Reason: "why"}
	for name, edit := range map[string]func(*budget.Adjustment){
		"no target":      func(a *budget.Adjustment) { a.BudgetID = "" },
		"two targets":    func(a *budget.Adjustment) { a.Tag = "a" },
		"no amount":      func(a *budget.Adjustment) { a.Amount = 0 },
		"too much":       func(a *budget.Adjustment) { a.Amount = budget.MaxAmount },
		"no reason":      func(a *budget.Adjustment) { a.Reason = " " },
		"hidden reason":  func(a *budget.Adjustment) { a.Reason = "a\x1b[2Jb" },
		"long reason":    func(a *budget.Adjustment) { a.Reason = strings.Repeat("x", 501) },
		"no request id":  func(a *budget.Adjustment) { a.RequestID = "" },
		"unknown budget": func(a *budget.Adjustment) { a.BudgetID = "bud_none" },
		"pattern tag":    func(a *budget.Adjustment) { a.BudgetID, a.Tag = "", budget.Tag(strings.Repeat("x", 65)) },
		"large refund":   func(a *budget.Adjustment) { a.Amount = -51 },
		"tag refund":     func(a *budget.Adjustment) { a.BudgetID, a.Tag, a.Amount = "", "a", -51 },
	} {
		a := ok
		edit(&a)
		if _, err := b.Adjust(t.Context(), a, "admin"); err == nil {
			t.Errorf("%s: accepted", name)
		} else if e := asError(t, err); e.Kind != budget.KindInvalid && e.Kind != budget.KindNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.want(st.ID, 50, 0)
	b.agree()
}

func TestAuditLog(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	k, _, err := b.CreateKey(t.Context(), budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeUsage}}, budget.Author{Actor: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteKey(t.Context(), k.ID, budget.Author{Actor: "admin"}); err != nil {
		t.Fatal(err)
	}
	b.adjust(budget.Adjustment{BudgetID: st.ID, Amount: 5})
	log, err := b.AuditLog(t.Context(), 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range log {
		got = append(got, e.Actor+" "+e.Action+" "+e.Subject)
	}
	want := []string{"test create_budget " + st.ID, "admin create_key " + k.ID, "admin delete_key " + k.ID, "key_ops adjust adj_1"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if last, err := b.AuditLog(t.Context(), log[2].ID, 10); err != nil || len(last) != 1 || !strings.Contains(last[0].Detail, "invoice") {
		t.Errorf("last page %+v, %v", last, err)
	}
}
