package accounting

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	readSize    = 1 << 20
	maxLine     = 4 << 20 // far above what Envoy writes: eight captures of 8 KiB
	printLength = 256     // bytes of a file's start that tell it from its successors
)

// reader reads whole lines of one file from an offset. It follows the file, not
// its name: Envoy goes on writing into a renamed one until it opens another.
type reader struct {
	path   string // when it was opened
	f      *os.File
	offset int64
	size   int64 // at the last look
	print  uint32
	last   bool // the look after a newer file was seen
	buf    []byte
}

// batch is some whole lines.
type batch struct {
	lines      []byte // each ends with a newline
	file       string // identity
	start, end int64  // offsets in the file
	size       int64
	truncated  bool // the file was cut since the last look; start is 0
	overlong   bool // the bytes up to end are one line, too long to be ours
}

func openReader(path string, offset int64) (*reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open access log file: %w", err)
	}
	keepPrivate(f)
	r := &reader{path: path, f: f, offset: offset}
	if offset > 0 {
		if r.print, err = r.fingerprint(offset); err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.Join(err, f.Close())
		}
	}
	return r, nil
}

// keepPrivate takes from others what the umask of an Envoy left them: the log
// says who called which model when. A group that may write was given the file by
// somebody. It is no error where the file is another user's.
func keepPrivate(f *os.File) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	open := fs.FileMode(0o077)
	if info.Mode()&0o020 != 0 {
		open = 0o007
	}
	if mode := info.Mode().Perm(); mode&open != 0 {
		_ = f.Chmod(mode &^ open)
	}
}

func (r *reader) close() error { return r.f.Close() }

// identity names the file as the ledger remembers it: device, inode and a
// fingerprint of its first bytes, since an inode is used again once its file
// is deleted. It needs offset > 0, which a position always has.
func (r *reader) identity(offset int64) (string, error) {
	st, err := r.f.Stat()
	if err != nil {
		return "", fmt.Errorf("stat access log file: %w", err)
	}
	print, err := r.fingerprint(offset)
	if errors.Is(err, io.EOF) {
		return "", nil // shorter than the position: another file
	}
	if err != nil {
		return "", err
	}
	return fileID(st) + "-" + strconv.FormatUint(uint64(print), 16), nil
}

// fingerprint is a checksum of the first bytes before offset. Because a file
// only grows, and offset is behind its first line, it never changes; to be the
// same at every offset it covers at most the first line.
func (r *reader) fingerprint(offset int64) (uint32, error) {
	b := make([]byte, min(offset, printLength))
	if _, err := r.f.ReadAt(b, 0); err != nil {
		return 0, fmt.Errorf("read access log file: %w", err)
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i+1]
	}
	return crc32.ChecksumIEEE(b), nil
}

// read returns the next whole lines without advancing; none when there are
// none yet.
func (r *reader) read() (batch, error) {
	st, err := r.f.Stat()
	if err != nil {
		return batch{}, fmt.Errorf("stat access log file: %w", err)
	}
	var b batch
	if r.size = st.Size(); r.size == r.offset {
		return batch{start: r.offset, end: r.offset}, nil
	}
	if b.truncated, err = r.cut(); err != nil {
		return b, err
	}
	if b.truncated {
		r.offset = 0
	}
	b.start, b.end, b.size = r.offset, r.offset, r.size
	if err := r.fill(&b); err != nil || b.end == b.start {
		return b, err
	}
	if b.file, err = r.identity(b.end); err != nil {
		return b, err
	}
	r.print, err = r.fingerprint(b.end)
	return b, err
}

// cut reports whether the file is no longer the one that was read up to offset.
func (r *reader) cut() (bool, error) {
	if r.offset == 0 {
		return false, nil
	}
	if r.size < r.offset {
		return true, nil
	}
	print, err := r.fingerprint(r.offset)
	return err == nil && print != r.print, err
}

// fill reads up to the last newline within reach, which is enlarged until there
// is one. A line of more than maxLine is not ours: it is passed over unread.
func (r *reader) fill(b *batch) error {
	for limit := int64(readSize); ; limit *= 2 {
		n := min(limit, r.size-r.offset)
		if int64(cap(r.buf)) < n {
			r.buf = make([]byte, n)
		}
		got, err := r.f.ReadAt(r.buf[:n], r.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read access log file: %w", err)
		}
		if end := bytes.LastIndexByte(r.buf[:got], '\n'); end >= 0 {
			b.lines, b.end = r.buf[:end+1], r.offset+int64(end)+1
			return nil
		}
		if n < limit || int64(got) < n {
			return nil // half a line: wait
		}
		if limit >= maxLine {
			return r.pass(b)
		}
	}
}

// pass finds the end of an overlong line.
func (r *reader) pass(b *batch) error {
	buf := r.buf[:readSize]
	for at := r.offset + maxLine; at < r.size; {
		n, err := r.f.ReadAt(buf, at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			b.end, b.overlong = at+int64(i)+1, true
			return nil
		}
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at += int64(n)
	}
	return nil
}

// advance moves the offset behind a settled batch.
func (r *reader) advance(end int64) { r.offset, r.last = end, false }

func (r *reader) pending() int64 { return max(0, r.size-r.offset) }

// eachLine calls f with every line and the offset where it begins.
func (b *batch) eachLine(f func(at int64, line []byte)) {
	for rest := b.lines; len(rest) > 0; {
		at := b.end - int64(len(rest))
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if len(line) > 0 {
			f(at, line)
		}
	}
}

// logFile is one file of the log: the one at the configured path, which Envoy
// opens, or one that was renamed away from it.
type logFile struct {
	path    string
	info    fs.FileInfo
	current bool
	seq     int // of a renamed file; ascending with time
}

// list returns the log's files, oldest first.
func list(path string) ([]logFile, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list access log files: %w", err)
	}
	var out []logFile
	for _, e := range entries {
		f := logFile{path: filepath.Join(filepath.Dir(path), e.Name())}
		suffix, renamed := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		switch {
		case e.Name() == filepath.Base(path):
			f.current = true
		case !renamed:
			continue
		default:
			if f.seq, err = strconv.Atoi(suffix); err != nil || f.seq <= 0 {
				continue // somebody else's
			}
		}
		if f.info, err = e.Info(); err != nil || !f.info.Mode().IsRegular() {
			continue // gone since, or no file
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b logFile) int {
		if a.current != b.current {
			if a.current {
				return 1
			}
			return -1
		}
		return a.seq - b.seq
	})
	return out, nil
}

// after returns the file that follows r's; false when there is none. A file
// that is no longer listed was older than all that are.
func after(files []logFile, r *reader) (logFile, bool, error) {
	st, err := r.f.Stat()
	if err != nil {
		return logFile{}, false, fmt.Errorf("stat access log file: %w", err)
	}
	next := 1 + slices.IndexFunc(files, func(f logFile) bool { return os.SameFile(f.info, st) })
	if next < len(files) {
		return files[next], true, nil
	}
	return logFile{}, false, nil
}

func hasCurrent(files []logFile) bool { return len(files) > 0 && files[len(files)-1].current }

// rotate renames the current file away; its writer follows it until it is asked
// to open the path again.
func rotate(path string, files []logFile) error {
	seq := 1
	for _, f := range files {
		seq = max(seq, f.seq+1)
	}
	if err := os.Rename(path, fmt.Sprintf("%s.%06d", path, seq)); err != nil {
		return fmt.Errorf("rotate access log file: %w", err)
	}
	return nil
}
