package accounting

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileID is the file's device and inode, which outlive a rename.
func fileID(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%x-%x", uint64(st.Dev), uint64(st.Ino))
}
