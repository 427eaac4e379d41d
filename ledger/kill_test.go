package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/internal/fsynctest"
	"aigateway/ledger"
)

// killEnv makes the test binary a victim that reserves until it is killed.
const killEnv = "LEDGER_KILL_TEST_DIR"

func TestMain(m *testing.M) {
	fsynctest.Main()
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
	l, err := ledger.Open(context.Background(), ledger.Config{Dir: dir, JournalWait: time.Minute}) // a busy machine is no failure
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
// be an open reservation at the next start, and nothing more: once every log
// was read, spending is the bill.
func TestKill(t *testing.T) {
	b := reopen(t, t.TempDir(), &clock{t: time.Now()})
	st := b.budget("a", budget.Total, budget.MaxAmount)
	dir := b.dir
	var granted []uint64
	for round := range 5 {
		b.shut()
		ids, exposure := runVictim(t, dir, 500+round*333)
		granted = append(granted, ids...)
		b = reopen(t, dir, b.clock)
		c := b.Counters(st.ID)
		if c.Used < exposure {
			t.Fatalf("round %d: exposure %d, recovered %+v", round, exposure, c)
		}
		if c.Orphan != 0 {
			t.Fatalf("round %d: %+v: the kill left something undecided", round, c)
		}
		for range 2 {
			for _, id := range ids {
				b.settle(budget.Settlement{Basis: budget.BasisUsage, Cost: 40, Reservation: &budget.Reservation{
					ID: budget.ReservationID(id), Bound: 100, Attribution: budget.Attribution{Tag: "a"},
				}})
			}
		}
		b.flush()
		// At most one call a round was granted and killed before it said so.
		if c := b.Counters(st.ID); c.Spent != 40*budget.Amount(len(granted)) || c.Held > 100*budget.Amount(round+1) {
			t.Fatalf("round %d: %+v, want 40 for each of %d calls", round, c, len(granted))
		}
		b.sound()
	}
}

// runVictim kills a process after it granted n reservations and returns those
// it told of, and what its calls cost or may cost.
func runVictim(t *testing.T, dir string, n int) (granted []uint64, exposure budget.Amount) {
	t.Helper()
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
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, number, _ := strings.Cut(lines.Text(), " ")
		id, err := strconv.ParseUint(number, 10, 64)
		switch {
		case err != nil || word != "reserved" && word != "billed":
			// A line that the kill cut.
		case word == "reserved":
			granted = append(granted, id)
			exposure += 100
			if len(granted) == n {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		default:
			exposure -= 60
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("the victim ended by itself: %v: %s", err, stderr.String())
	}
	return granted, exposure
}
