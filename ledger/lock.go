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

const lockFile = "ledger.lock"

// lock keeps a second process away from the database (assumption A3), and
// remembers the epoch outside of it, so that a database that was rolled back
// to an older copy is noticed.
type lock struct{ f *os.File }

func takeLock(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
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
func (l *lock) epoch() (uint64, error) {
	text, err := io.ReadAll(io.NewSectionReader(l.f, 0, 64))
	if err != nil {
		return 0, fmt.Errorf("read lock file: %w", err)
	}
	s := strings.TrimSpace(string(text))
	if s == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseUint(s, 10, 20)
	if err != nil {
		return 0, fmt.Errorf("read lock file: %w", err)
	}
	return epoch, nil
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
