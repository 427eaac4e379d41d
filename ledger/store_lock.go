package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// LockFile is the file of a data directory that the process which serves it
// holds open and locked.
const LockFile = "ledger.lock"

// lock keeps a second process away from the database (assumption A3). It also
// witnesses, outside the database, the epoch and the number of commits: a
// database that was rolled back to an older copy, or whose journal lost its
// tail, is noticed.
type lock struct{ f *os.File }

// lockLine is the width of a line of the file: the epoch, then the commits.
const lockLine = 21

func takeLock(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &lock{f}, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another aigateway uses the data directory %s; stop it or choose another directory", dir)
	}
	return nil, errors.Join(err, f.Close())
}

// epoch is the newest epoch that was served, 0 for none.
func (l *lock) epoch() (uint64, error) { return l.line(0) }

// commits is the number of commits that were reported as durable. After a
// power loss it may be old: it is written, but never waited for.
func (l *lock) commits() (uint64, error) { return l.line(1) }

func (l *lock) line(n int64) (uint64, error) {
	text, err := io.ReadAll(io.NewSectionReader(l.f, n*lockLine, lockLine))
	if err != nil {
		return 0, fmt.Errorf("read lock file: %w", err)
	}
	s := strings.TrimSpace(string(text))
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read lock file: %w", err)
	}
	return v, nil
}

// setCommits costs one write into the page cache, which survives this process.
func (l *lock) setCommits(n uint64) error {
	if _, err := l.f.WriteAt(fmt.Appendf(nil, "%020d\n", n), lockLine); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// setEpoch overwrites in place: a replaced file would not carry the lock.
// The number has a fixed width, so a torn write cannot shorten it.
func (l *lock) setEpoch(epoch uint64) error {
	if _, err := l.f.WriteAt(fmt.Appendf(nil, "%020d\n", epoch), 0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func (l *lock) release() error { return l.f.Close() }

// readsFile is locked, shared, by whoever reads the database for long in slices.
// Meanwhile the gateway deletes nothing, so that what one slice has read is still
// there for the next.
const readsFile = "ledger.reads"

func openReads(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, readsFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	return f, nil
}

// unread runs f if nobody reads for long, and keeps them waiting meanwhile.
func unread(reads *os.File, f func() error) error {
	fd := int(reads.Fd())
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		return fmt.Errorf("lock %s: %w", readsFile, err)
	}
	return errors.Join(f(), syscall.Flock(fd, syscall.LOCK_UN))
}
