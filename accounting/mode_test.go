package accounting_test

import (
	"io/fs"
	"os"
	"testing"
)

// TestSpoolKeepsTheLogPrivate: whatever the umask of its Envoy left to others is
// taken back, also of the file that a rotation opened.
func TestSpoolKeepsTheLogPrivate(t *testing.T) {
	for _, tt := range []struct{ made, want fs.FileMode }{
		{0o644, 0o600}, {0o666, 0o660}, {0o600, 0o600}, {0o604, 0o600}, {0o660, 0o660}, {0o664, 0o660}, {0o400, 0o400},
	} {
		r := newRig(t)
		r.max = 1
		r.start()
		r.reopen = func() error {
			if err := os.WriteFile(r.path, nil, 0o600); err != nil {
				return err
			}
			return os.Chmod(r.path, tt.made)
		}
		check := func(what string) {
			info, err := os.Stat(r.path)
			r.must(err)
			if got := info.Mode().Perm(); got != tt.want {
				t.Errorf("%s of mode %o has %o, want %o", what, tt.made, got, tt.want)
			}
		}
		r.must(os.WriteFile(r.path, []byte("{}\n"), 0o600))
		r.must(os.Chmod(r.path, tt.made))
		r.drain()
		if r.reopens == 0 {
			t.Fatal("it was not rotated")
		}
		r.drain()
		check("the file after a rotation")
	}
}
