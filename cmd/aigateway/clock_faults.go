//go:build faults

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// clockOf is the machine's clock, set ahead by as many seconds as the file AIG_CLOCK
// says at the moment. Only binaries that tests build with the tag faults have it.
func clockOf(getenv func(string) string) func() time.Time {
	path := getenv("AIG_CLOCK")
	if path == "" {
		return time.Now
	}
	return func() time.Time {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		ahead, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
		if err != nil {
			panic(fmt.Errorf("%s: %w", path, err))
		}
		t := time.Now()
		// Add would set the monotonic clock too, which nobody can. A Time with both has
		// the seconds of its wall clock above 30 bits of nanoseconds.
		*(*uint64)(unsafe.Pointer(&t)) += uint64(ahead) << 30
		return t
	}
}
