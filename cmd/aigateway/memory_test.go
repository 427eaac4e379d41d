package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEnvoyHeap(t *testing.T) {
	const gib = 1 << 30
	meminfo := "MemFree:        1 kB\nMemTotal:       8388608 kB\n" // 8 GiB
	for name, tc := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is known":    {nil, 0},
		"the machine":         {map[string]string{"proc/meminfo": meminfo}, 4 * gib},
		"nonsense":            {map[string]string{"proc/meminfo": "MemTotal: x kB\n", "proc/self/cgroup": "x\n"}, 0},
		"no limit":            {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 4 * gib},
		"a group":             {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "2147483648\n"}, gib},
		"an ancestor":         {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "4294967296\n"}, 2 * gib},
		"in a container":      {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4294967296\n"}, 2 * gib},
		"version 1":           {map[string]string{"proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4294967296\n"}, 2 * gib},
		"version 1, no limit": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 4 * gib},
		"a tiny one":          {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}, 256 << 20},
	} {
		root := t.TempDir()
		for file, text := range tc.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := envoyHeap(root); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
		own := tc.want / 4 * 3
		if name == "a tiny one" {
			own = minOwnMemory
		}
		if got := ownMemory(root); got != own || bodyMemory(root) != own/4 {
			t.Errorf("%s: own memory %d, of that bodies %d, want %d", name, got, bodyMemory(root), own)
		}
	}
}
