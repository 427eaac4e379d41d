package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit in which Linux counts the CPU time of processes that ended.
const tick = 10 * time.Millisecond

// Processes are those of a server that runs, the first one first: it made the others.
// They are known on Linux alone.
func (s *Server) Processes() ([]int, error) {
	said, err := os.ReadFile(filepath.Join(s.Data(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(said, []byte("\n"))
	made, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%[1]s/children", first))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, text := range append([]string{string(first)}, strings.Fields(string(made))...) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// CPU is what all processes of the server have used so far: those which live, and those
// which the first one has waited for.
func (s *Server) CPU() (total time.Duration, err error) {
	pids, err := s.Processes()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		// Each has one thread and often less than a tick, so it is read in nanoseconds.
		used, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		nanoseconds, _, _ := strings.Cut(string(used), " ")
		n, err := strconv.ParseInt(nanoseconds, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pids[0]))
	if err != nil {
		return 0, err
	}
	// Behind the name in parentheses the state is the first field, and the times of
	// children that ended, in user and kernel mode, are the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("short stat of process %d", pids[0])
	}
	for _, f := range fields[13:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}
