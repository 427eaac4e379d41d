package pricing

import "testing"

// What keeps a prompt for an hour comes on top of reading it, as what keeps it for
// minutes does.
func TestWritesBelowTheInputComeOnTop(t *testing.T) {
	var r rates
	for b, p := range map[bucket]int64{input: 10, cacheWrite: 3, cacheWriteLong: 4, cacheRead: 1, output: 5} {
		r.pico[b], r.has = p, r.has|1<<b
	}
	for b, want := range map[bucket]int64{input: 10, cacheWrite: 13, cacheWriteLong: 14, cacheRead: 1, output: 5} {
		if got := r.written(b); got != want {
			t.Errorf("bucket %d is written at %d, want %d", b, got, want)
		}
	}
}
