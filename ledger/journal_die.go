//go:build faults && unix

package ledger

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// dieAt kills the process at a numbered step of a sync: AIG_DIE_AT is
// "step:turn", the turn counted from 1. Only binaries that tests build with the
// tag faults have it.
func dieAt() func(step int) {
	text, counted, found := strings.Cut(os.Getenv("AIG_DIE_AT"), ":")
	step, err := strconv.Atoi(text)
	if !found || err != nil {
		return nil
	}
	turn, err := strconv.ParseInt(counted, 10, 64)
	if err != nil {
		return nil
	}
	var turns atomic.Int64
	return func(at int) {
		if at == step && turns.Add(1) == turn {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not one instruction more
		}
	}
}
