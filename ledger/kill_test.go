package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// killEnv makes the test binary a victim that reserves until it is killed.
const killEnv = "LEDGER_KILL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim prints each reservation once it is granted and each cost once the
// provider would have billed it.
func victim(dir string) error {
	l, err := ledger.Open(context.Background(), ledger.Config{Dir: dir})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		r, err := l.Reserve(context.Background(), budget.Request{
			RequestID: fmt.Sprintf("%d-%d", os.Getpid(), i), Bound: 100, Attribution: budget.Attribution{Tag: "a"},
		})
		if err != nil {
			return err
		}
		fmt.Println("reserved", uint64(r.ID))
		if i%3 == 0 {
			continue // still running when the kill comes
		}
		fmt.Println("billed", uint64(r.ID))
		if err := l.Settle(context.Background(), budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: 40}); err != nil {
			return err
		}
	}
}

// TestKill kills a serving process again and again. Whatever it granted must
// be inside what the next start holds.
func TestKill(t *testing.T) {
	b := reopen(t, t.TempDir(), &clock{t: time.Now()})
	st := b.budget("a", budget.Total, budget.MaxAmount)
	dir := b.dir
	exposure := budget.Amount(0)
	for round := range 5 {
		b.shut()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reserved := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch word, _, _ := strings.Cut(lines.Text(), " "); word {
			case "reserved":
				exposure += 100
				reserved++
			case "billed":
				exposure -= 60
			}
			if reserved == 500+round*333 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				reserved++
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the victim ended by itself: %v: %s", err, stderr.String())
		}
		b = reopen(t, dir, b.clock)
		if c := b.Counters(st.ID); c.Used < exposure {
			t.Fatalf("round %d: exposure %d, recovered %+v", round, exposure, c)
		}
		b.sound()
	}
}
