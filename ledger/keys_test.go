package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

func TestKeys(t *testing.T) {
	b := start(t)
	in := budget.Key{
		Name: "team a", Scopes: []budget.Scope{budget.ScopeInference}, AllowedTags: []budget.TagPattern{"a/**"},
		DefaultTag: "a/x", AllowedModels: []string{"p/*"}, ExpireTime: april.Add(time.Hour),
	}
	k, secret, err := b.CreateKey(t.Context(), in, budget.Author{Actor: "root"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "sk-aig-"+strings.TrimPrefix(k.ID, "key_")+"-") || len(secret) < 40 {
		t.Errorf("secret %q of key %s has another form", secret, k.ID)
	}
	want := in
	want.ID, want.CreateTime = k.ID, april
	for range 2 { // the second time after a restart
		got, err := b.Authenticate(secret)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("key (-want +got):\n%s", d)
		}
		for _, bad := range []struct{ secret, reason string }{
			{"", "key_missing"}, {"sk-other", "key_invalid"}, {secret[:len(secret)-1], "key_invalid"}, {secret + "x", "key_invalid"},
			{secret[:len(secret)-1] + "!", "key_invalid"}, {strings.Replace(secret, "sk-aig-", "sk-aig-x", 1), "key_invalid"},
			{"sk-aig-" + strings.Repeat("a", 16) + "-" + strings.Repeat("a", 26), "key_invalid"},
		} {
			_, err := b.Authenticate(bad.secret)
			e := asError(t, err)
			if e.Kind != budget.KindUnauthenticated || e.Reason != bad.reason {
				t.Errorf("%q: %v %s, want %s", bad.secret, e.Kind, e.Reason, bad.reason)
			}
			if bad.secret != "" && strings.Contains(e.Message, bad.secret) {
				t.Errorf("the message shows the secret: %s", e.Message)
			}
		}
		b.shut()
		b = reopen(t, b.dir, b.clock)
	}
	b.clock.add(time.Hour)
	if _, err := b.Authenticate(secret); asError(t, err).Reason != "key_expired" {
		t.Errorf("expired key: %v", err)
	}
	if err := b.DeleteKey(t.Context(), k.ID, budget.Author{Actor: "root"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(secret); asError(t, err).Reason != "key_invalid" {
		t.Errorf("deleted key: %v", err)
	}
	if err := b.DeleteKey(t.Context(), k.ID, budget.Author{Actor: "root"}); asError(t, err).Kind != budget.KindNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	b = b.crash()
	if _, err := b.GetKey(k.ID); asError(t, err).Kind != budget.KindNotFound {
		t.Errorf("deleted key after a crash: %v", err)
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM audit WHERE actor = 'root'"); err != nil || n != 2 {
		t.Errorf("%d audit rows (%v), want 2", n, err)
	}
}

func TestListKeys(t *testing.T) {
	b := start(t)
	for range 3 {
		if _, _, err := b.CreateKey(t.Context(), budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeUsage}}, budget.Author{Actor: "root"}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := b.ListKeys("", 2)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := b.ListKeys(first[1].ID, 2)
	if err != nil || len(first) != 2 || len(rest) != 1 || rest[0].ID <= first[1].ID {
		t.Errorf("pages %v and %v (%v)", first, rest, err)
	}
	if got, err := b.GetKey(rest[0].ID); err != nil || got.Name != "k" {
		t.Errorf("key %+v, %v", got, err)
	}
}

func TestInvalidKeys(t *testing.T) {
	b := start(t)
	for _, bad := range []budget.Key{{}, {Name: "k"}, {Name: "k", Scopes: []budget.Scope{"root"}}, {Name: strings.Repeat("k", 65), Scopes: budget.Scopes()}} {
		if _, _, err := b.CreateKey(t.Context(), bad, budget.Author{Actor: "root"}); asError(t, err).Kind != budget.KindInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
