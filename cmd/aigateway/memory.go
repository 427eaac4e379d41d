package main

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// minEnvoyHeap and minOwnMemory keep a wrong or tiny limit from stopping all
// traffic.
const (
	minEnvoyHeap = 256 << 20
	minOwnMemory = 128 << 20
)

// envoyHeap is the memory that Envoy may use, in bytes: half of what this
// process may, as both share a machine or a container; 0 where that cannot be
// told. root is the root of the file system.
func envoyHeap(root string) int64 {
	limit := memory(root)
	if limit == math.MaxInt64 {
		return 0
	}
	return max(limit/2, minEnvoyHeap)
}

// ownMemory is the memory below which this process collects its garbage as late
// as it likes, in bytes: three eighths beside Envoy's half, which leaves some for
// what neither counts; 0 where that cannot be told.
func ownMemory(root string) int64 {
	limit := memory(root)
	if limit == math.MaxInt64 {
		return 0
	}
	return max(limit/8*3, minOwnMemory)
}

// bodyMemory is how much of that may be large bodies, which are in memory twice
// while they are read; 0 where that cannot be told.
func bodyMemory(root string) int64 { return ownMemory(root) / 4 }

// memory is what there is, in bytes; MaxInt64 if unknown.
func memory(root string) int64 { return min(machineMemory(root), controlGroupMemory(root)) }

// machineMemory is the machine's memory in bytes; MaxInt64 if unknown.
func machineMemory(root string) int64 {
	text, err := os.ReadFile(root + "/proc/meminfo")
	if err != nil {
		return math.MaxInt64 // not Linux
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err == nil && kib > 0 && kib <= math.MaxInt64>>10 {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}

// controlGroupMemory is the lowest limit of the control groups this process is
// in, of either version, in bytes; MaxInt64 if there is none.
func controlGroupMemory(root string) int64 {
	text, err := os.ReadFile(root + "/proc/self/cgroup")
	if err != nil {
		return math.MaxInt64
	}
	lowest := int64(math.MaxInt64)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "/sys/fs/cgroup", "memory.max"
		if parts[1] != "" { // version 1 names its controllers
			mount, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		// In a container the group may be mounted as the root itself, so each of
		// its ancestors is looked at, too.
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			if n, ok := readLimit(root + mount + path.Join("/", group, file)); ok {
				lowest = min(lowest, n)
			}
			if group == "/" {
				break
			}
		}
	}
	return lowest
}

func readLimit(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no limit
	return n, err == nil && n > 0
}
