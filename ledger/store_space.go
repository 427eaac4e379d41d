package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// minFree is the space on the disk below which a ledger does not start: a
// journal that fills its disk stops in the middle of traffic.
const minFree = 64 << 20

// checkSpace refuses a nearly full disk at the start, while nobody waits.
func checkSpace(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("look for free space: %w", err)
	}
	return enoughSpace(dir, uint64(s.Bavail)*uint64(s.Bsize))
}

func enoughSpace(dir string, free uint64) error {
	if free < minFree {
		return fmt.Errorf("the disk of %s has %d MiB free and the ledger needs %d to start; make room", dir, free>>20, minFree>>20)
	}
	return nil
}

// What a call and a row of usage take in the database, measured by BenchmarkDisk
// and BenchmarkUsageDisk, and how many combinations of tag, model, provider and
// key an estimate assumes in a quarter of an hour.
const (
	callBytes         = 265 // each in a commit of its own, as below some 20 calls a second
	callBytesTogether = 210 // 20 in a commit, as at 1,000 calls a second
	usageBytes        = 94
	usageCombinations = 100
)

// DiskEstimate is how many bytes the database comes to take, at a steady rate of
// calls and 100 combinations of tag, model and key in each quarter of an hour.
func DiskEstimate(callsPerSecond int64, retention time.Duration, usageMonths int) int64 {
	perCall := int64(callBytes)
	if callsPerSecond > 100 {
		perCall = callBytesTogether
	}
	calls := callsPerSecond * int64(retention/time.Second) * perCall
	quarters := int64(usageMonths) * 30 * 24 * 4
	return calls + quarters*min(usageCombinations, callsPerSecond*900)*usageBytes
}

// growth tells from the sizes of the database how fast it grows.
type growth struct {
	mu    sync.Mutex
	sizes []size // at most growthSizes, the oldest first
}

type size struct {
	at    time.Time
	bytes int64
}

// growthEvery and growthSizes make it the growth of the last day.
const (
	growthEvery = time.Hour
	growthSizes = 25
)

// daysLeft notes the size of the database and returns for how many days the free
// space lasts at the pace of the last day, at most a day more than that of ten
// years; so much too before there is a pace.
func (g *growth) daysLeft(now time.Time, bytes, free int64) float64 {
	const most = 3651
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.sizes); n == 0 || now.Sub(g.sizes[n-1].at) >= growthEvery {
		g.sizes = append(g.sizes, size{now, bytes})
		g.sizes = g.sizes[max(0, len(g.sizes)-growthSizes):]
	}
	first := g.sizes[0]
	grown, days := bytes-first.bytes, now.Sub(first.at).Hours()/24
	if grown <= 0 || days <= 0 {
		return most
	}
	return min(most, float64(free)/(float64(grown)/days))
}

// diskUse is the size of the database in dir, with its journal, and what is free
// on its disk.
func diskUse(dir string) (bytes, free int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("look for free space: %w", err)
	}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			bytes += info.Size()
		}
	}
	return bytes, int64(s.Bavail) * int64(s.Bsize), nil
}

// diskRemedy adds to err what to do about it, if the disk failed or is full.
func diskRemedy(err error) error {
	if !ofDisk(err) {
		return err
	}
	return fmt.Errorf("%w; make room on the disk, or check it, and start again: no money is lost (docs/guarantees.md, Failures)", err)
}

// journalRemedy is diskRemedy for a running ledger, which may fail otherwise.
func journalRemedy(err error) error {
	if ofDisk(err) {
		return diskRemedy(err)
	}
	return fmt.Errorf("%w; start again, which recovers or names what is damaged", err)
}

func ofDisk(err error) bool {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Code() & 0xff { // the rest tells which operation
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
		return true
	}
	return false
}
