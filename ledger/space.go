package ledger

import (
	"errors"
	"fmt"
	"syscall"

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
