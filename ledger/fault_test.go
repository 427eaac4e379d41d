package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// The environment of TestFaultVictim: its directory, the numbered step of the
// sync to die at (0: none) and at which of its turns, and the largest file size
// (0: any).
const (
	faultDir   = "LEDGER_FAULT_DIR"
	faultStep  = "LEDGER_FAULT_STEP"
	faultTurn  = "LEDGER_FAULT_TURN"
	faultBytes = "LEDGER_FAULT_BYTES"
	// faultRounds is how often TestKillAtEveryStep kills; default 300.
	faultRounds = "LEDGER_FAULT_ROUNDS"
)

const (
	victimBound = budget.Amount(100)
	victimCost  = budget.Amount(40)
	victimCap   = budget.Amount(5_000_000)
	// spoolLine is a line of the victim's log file: id, bound and accounts.
	spoolFile = "victim.log"
)

// TestFaultVictim is not a test: it serves until it is killed.
func TestFaultVictim(t *testing.T) {
	dir := os.Getenv(faultDir)
	if dir == "" {
		return // other tests run it as a process of its own
	}
	if n, _ := strconv.ParseUint(os.Getenv(faultBytes), 10, 63); n > 0 {
		signal.Ignore(syscall.SIGXFSZ) // a write past the limit then fails, as on a full disk
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			t.Fatal(err)
		}
	}
	step, _ := strconv.Atoi(os.Getenv(faultStep))
	turn, _ := strconv.Atoi(os.Getenv(faultTurn))
	config := ledger.WithSteps(ledger.Config{Dir: dir, JournalWait: time.Minute}, func(at int) {
		if at == step {
			if turn--; turn <= 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	})
	l, err := ledger.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := serveUntilKilled(t.Context(), l, filepath.Join(dir, spoolFile)); err != nil {
		fmt.Println("stopped", err)
	}
}

// serveUntilKilled grants calls, and once one has ended writes its line to the
// log file, as Envoy would, before it settles it by one channel or the other.
func serveUntilKilled(ctx context.Context, l *ledger.Ledger, path string) error {
	if err := replay(ctx, l, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		r, err := l.Reserve(ctx, budget.Request{RequestID: fmt.Sprintf("%d-%d", os.Getpid(), i), Bound: victimBound, Attribution: budget.Attribution{Tag: "a"}})
		var refused *budget.Error
		if errors.As(err, &refused) && refused.Kind == budget.KindBudgetExceeded {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println("reserved")
		if i%5 == 0 {
			continue // still running when the end comes
		}
		fmt.Println("billed") // first: what the file says must not surprise the oracle
		if _, err := fmt.Fprintf(f, "%d %d %s\n", r.ID, r.ReservedAt.UnixNano(), strings.Trim(fmt.Sprint(r.Accounts), "[]")); err != nil {
			return err
		}
		if i%3 == 0 {
			if err := l.Settle(ctx, settlement(r, victimCost)); err != nil {
				return err
			}
		}
		if i%50 == 49 {
			if err := replay(ctx, l, path); err != nil {
				return err
			}
		}
	}
}

// replay settles the log file from the ledger's own position.
func replay(ctx context.Context, l *ledger.Ledger, path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	from := l.SpoolPosition().Offset
	text = text[from : bytes.LastIndexByte(text, '\n')+1]
	var entries []budget.Settlement
	for line := range strings.Lines(string(text)) {
		r, err := parseLine(strings.Fields(line))
		if err != nil {
			return err
		}
		entries = append(entries, settlement(r, victimCost))
	}
	return l.SettleSpool(ctx, entries, budget.SpoolPosition{File: "victim", Offset: from + int64(len(text))})
}

func parseLine(fields []string) (budget.Reservation, error) {
	r := budget.Reservation{Bound: victimBound, Attribution: budget.Attribution{Tag: "a"}}
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return r, err
		}
		switch i {
		case 0:
			r.ID = budget.ReservationID(n)
		case 1:
			r.ReservedAt = time.Unix(0, n)
		default:
			r.Accounts = append(r.Accounts, n)
		}
	}
	return r, nil
}

// oracle is the provider: what calls have cost, and could still cost.
type oracle struct{ reserved, billed int }

func (o *oracle) exposure() budget.Amount {
	return victimBound*budget.Amount(o.reserved-o.billed) + victimCost*budget.Amount(o.billed)
}

// live runs a victim until it dies, and returns what it said at last.
func (o *oracle) live(t *testing.T, dir string, killAfter time.Duration, env ...string) (stopped string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultVictim$")
	cmd.Env = append(append(os.Environ(), faultDir+"="+dir), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if killAfter > 0 {
		defer time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() }).Stop()
	}
	stopped = o.listen(out)
	_ = cmd.Wait() // killed
	return stopped
}

// listen counts what a victim says and returns why it stopped, if it says so.
func (o *oracle) listen(out io.Reader) (stopped string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case "reserved":
			o.reserved++
		case "billed":
			o.billed++
		case "stopped":
			stopped += rest
		case "---", "FAIL":
			stopped += lines.Text() + "\n"
		default:
			if strings.Contains(lines.Text(), ".go:") { // of a failed test
				stopped += lines.Text() + "\n"
			}
		}
	}
	return stopped
}

func faultBudget(t *testing.T) (dir, id string) {
	t.Helper()
	b := reopen(t, t.TempDir(), &clock{t: time.Now()})
	st := b.budget("a", budget.Total, victimCap)
	b.shut()
	return b.dir, st.ID
}

// recovered opens dir and compares it with the oracle.
func (o *oracle) recovered(t *testing.T, dir, id, what string) *bench {
	t.Helper()
	b := reopen(t, dir, &clock{t: time.Now()})
	if c := b.Counters(id); c.Used < o.exposure() || c.Used > victimCap {
		t.Fatalf("%s: exposure %d, cap %d, recovered %+v", what, o.exposure(), victimCap, c)
	}
	return b
}

// settledExactly replays the log file: every billed call must then be charged
// once, and exactly (I7).
func (o *oracle) settledExactly(t *testing.T, b *bench, id string) {
	t.Helper()
	if err := replay(t.Context(), b.Ledger, filepath.Join(b.dir, spoolFile)); err != nil {
		t.Fatal(err)
	}
	b.flush()
	text, err := os.ReadFile(filepath.Join(b.dir, spoolFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := budget.Amount(bytes.Count(text, []byte{'\n'}))
	if c := b.Counters(id); c.Spent-c.Residue != lines*victimCost {
		t.Errorf("counters %+v after %d lines; want %d spent", c, lines, lines*victimCost)
	}
	b.agree()
}

// TestKillAtEveryStep kills a serving process at each numbered step of the sync
// in turn and at random moments. LEDGER_FAULT_ROUNDS sets how often.
func TestKillAtEveryStep(t *testing.T) {
	t.Parallel()
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	if n, err := strconv.Atoi(os.Getenv(faultRounds)); err == nil {
		rounds = n
	}
	dir, id := faultBudget(t)
	o := &oracle{}
	died := map[int]int{}
	for round := range rounds {
		if round%50 == 49 {
			b := o.recovered(t, dir, id, fmt.Sprintf("round %d", round))
			b.agree()
			b.shut()
		}
		if used := o.exposure(); used > victimCap/2 { // a new life before the cap ends the story
			b := o.recovered(t, dir, id, fmt.Sprintf("round %d", round))
			o.settledExactly(t, b, id)
			b.shut()
			dir, id = faultBudget(t)
			o = &oracle{}
		}
		step := round % (ledger.Steps + 1)
		died[step]++
		said := ""
		if step == 0 {
			said = o.live(t, dir, time.Duration(20+rand.IntN(120))*time.Millisecond)
		} else {
			said = o.live(t, dir, 5*time.Second, faultStep+"="+strconv.Itoa(step), faultTurn+"="+strconv.Itoa(1+rand.IntN(8)))
		}
		if said != "" {
			t.Fatalf("round %d, step %d: the victim ended by itself: %s", round, step, said)
		}
	}
	b := o.recovered(t, dir, id, "the end")
	o.settledExactly(t, b, id)
	t.Logf("killed %d times, by step (0 is at random): %v", rounds, died)
}

// TestFullDisk lets writes fail at sizes that hit the log at different places.
// The process must stop, and all it granted must be there once there is room.
func TestFullDisk(t *testing.T) {
	for _, limit := range []int{150_000, 300_000, 700_000, 1_500_000} {
		dir, id := faultBudget(t)
		o := &oracle{}
		said := o.live(t, dir, 30*time.Second, faultBytes+"="+strconv.Itoa(limit))
		if !strings.Contains(said, "make room on the disk, or check it, and start again") {
			t.Errorf("limit %d: the victim said %q", limit, said)
		}
		b := o.recovered(t, dir, id, fmt.Sprintf("limit %d", limit))
		if err := replay(t.Context(), b.Ledger, filepath.Join(dir, spoolFile)); err != nil {
			t.Fatal(err)
		}
		b.agree()
	}
}
