package ledger

import (
	"fmt"
	"syscall"
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
