package ledger

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// bootID changes whenever the kernel starts; empty if it cannot be told.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// mapFile maps a new file of zeros into memory. Its blocks are allocated first:
// a store into a mapped hole on a full disk would kill the process.
func mapFile(path string, size int) ([]byte, func() error, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	mem, err := mapOpen(f, size)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return mem, func() error { return errors.Join(syscall.Munmap(mem), f.Close()) }, nil
}

func mapOpen(f *os.File, size int) ([]byte, error) {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(size))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
		}
		break
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map file: %w", err)
	}
	return mem, nil
}
