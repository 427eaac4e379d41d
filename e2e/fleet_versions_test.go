package e2e_test

import (
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/internal/pgtest"
)

// older is a commit whose gateways know the store as migration 0002 left it: usage is not
// folded, rules are read whole, questions asked one at a time.
const older = "c9d40f5c90cc58bd62fce0adf0c78793d3c50763"

// buildOlder builds what older had, as TestMain builds binary.
func buildOlder(t *testing.T) (path string) {
	t.Helper()
	source := shortDir(t)
	archive, unpack := exec.Command("git", "archive", older), exec.Command("tar", "-x", "-C", source)
	archive.Dir = ".." // else it has this folder alone
	unpack.Stdin, _ = archive.StdoutPipe()
	if err := errors.Join(unpack.Start(), archive.Run(), unpack.Wait()); err != nil {
		t.Fatalf("the sources of %s, which need the repository's history: %v", older, err)
	}
	path = filepath.Join(source, "bin-aigateway")
	build := exec.Command("go", "build", "-o", path, "./cmd/aigateway")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", older, err, out)
	}
	return path
}

// TestFleetOfTwoVersions upgrades three gateways one after the other under load, puts one
// back and upgrades it again: no call fails, one cap is exact wherever two versions share
// it, edits and keys of one are obeyed by the other when they are answered, and in the end
// all tell what was billed. Once the store is not for the older one any more, it says so.
func TestFleetOfTwoVersions(t *testing.T) {
	t.Parallel()
	old := buildOlder(t)
	db := pgtest.Start(t, "max_connections = 100")
	all := newGateways(t, db, 3, 30*time.Second)
	for _, g := range all {
		g.aigateway = old
	}
	b := all.balance(t, "{accept: 2s, timeout: 30s}", 8, func() { pause(20 * time.Millisecond) })
	b.replace(t, all[0], binary)
	all.workTogether(t, "first")
	b.replace(t, all[1], binary)
	b.replace(t, all[0], old) // the tables stay
	all.workTogether(t, "back")
	b.replace(t, all[0], binary)
	b.replace(t, all[2], binary)
	b.end(t)
	t.Logf("%d calls were told to come again", b.again.Load())

	wantRefused(t, db, all[0], old)
}

// wantRefused ends what the store's tables are for older programs, as a later version
// will: they say so.
func wantRefused(t *testing.T, db *pgtest.Server, g *gateway, old string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL("admin"))
	if err == nil {
		_, err = conn.Exec(t.Context(), "UPDATE aig_schema SET readable = version")
		conn.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(old, "replicas", "list", "--config", g.config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "upgrade it") {
		t.Errorf("an older program on tables that are not for it: %v %s", err, out)
	}
}

// workTogether makes edits, keys and calls at gateways of two versions.
func (all gateways) workTogether(t *testing.T, when string) {
	t.Helper()
	tight := "tight/" + when
	all[0].setBudget(tight, 10)
	if counts := all.admitted(30, 10, tight); counts["200"] != 3 || counts["402"] != 27 {
		t.Errorf("%s: %v; want 3 of 30 admitted, the others refused by the cap", when, counts)
	}
	all.editTogether(t, when)
	end := all[0].running("fake", "all", "hold on")
	for i, g := range all {
		held := map[string]bool{} // by whom
		for _, r := range g.tells("/v1/reservations").Reservations {
			held[r.Replica] = true
		}
		if !held[all[0].replicaID()] {
			t.Errorf("%s: gateway %d does not tell of a call that runs at gateway 0", when, i)
		}
		if tells := g.tells("/v1/calls?tag=" + tight); len(tells.Calls) < 3 || tells.Unreachable != nil {
			t.Errorf("%s: gateway %d tells of %+v", when, i, tells)
		}
	}
	if r := end(); r.status != http.StatusOK {
		t.Errorf("%d %s %v", r.status, r.body, r.err)
	}
}

// editTogether makes budgets and keys at each gateway, which the next ones delete.
func (all gateways) editTogether(t *testing.T, when string) {
	t.Helper()
	edited := "edited/" + when
	for i, g := range all {
		for _, cents := range []int64{0, 100} {
			made := g.setBudget(edited, cents)
			want := map[int64]int{0: http.StatusPaymentRequired, 100: http.StatusOK}[cents]
			for j, at := range all {
				if r := at.chat("fake/m1", edited, "hello", `,"max_tokens":9`); r.status != want {
					t.Errorf("%s: a cap of %d cents made at gateway %d, a call at %d: %d %s %v", when, cents, i, j, r.status, r.body, r.err)
				}
			}
			if cents == 0 {
				continue
			}
			other := all[(i+1)%len(all)]
			if r := other.try(http.MethodDelete, other.rest+"/v1/budgets/"+made.ID, "", nil); r.err != nil || r.status != http.StatusOK {
				t.Errorf("%s: delete: %d %s %v", when, r.status, r.body, r.err)
			}
		}
		var key struct {
			Key    struct{ ID string }
			Secret string
		}
		g.post("/v1/keys", `{"name":"k","scopes":["inference"]}`, &key)
		with := tagged("keys")
		with.Set("Authorization", "Bearer "+key.Secret)
		for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
			for j, at := range all {
				if r := at.insist(http.MethodPost, at.url+"/v1/chat/completions", chatBody("fake/m1", "keys", "hello", `,"max_tokens":9`), with); r.status != want {
					t.Errorf("%s: a key made at gateway %d, a call at %d: %d %s %v; want %d", when, i, j, r.status, r.body, r.err, want)
				}
			}
			other := all[(i+2)%len(all)]
			if want == http.StatusOK {
				if r := other.try(http.MethodDelete, other.rest+"/v1/keys/"+key.Key.ID, "", nil); r.err != nil || r.status != http.StatusOK {
					t.Errorf("%s: revoke: %d %s %v", when, r.status, r.body, r.err)
				}
			}
		}
	}
}
