package accounting_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

func TestSpoolRotation(t *testing.T) {
	r := newRig(t)
	r.max = int64(len(r.lines(1, 2)))
	r.start()
	r.reopen = func() error { return nil } // Envoy was asked, but has not come to it yet
	r.write(r.lines(1, 2))
	r.drain()
	if got := r.files(); !slices.Equal(got, []string{"access.jsonl.000001"}) || r.reopens != 1 {
		t.Fatalf("files %v after %d reopens, want the renamed one after 1", got, r.reopens)
	}
	r.write(r.lines(3)) // still into the renamed file
	r.drain()
	r.want(1, 2, 3)
	r.write(r.lines(4))
	r.open() // now Envoy opens the new one
	r.write(r.lines(5))
	if _, err := r.spool.Step(t.Context()); err != nil { // reads 4
		t.Fatal(err)
	}
	if !slices.Contains(r.files(), "access.jsonl.000001") {
		t.Error("the old file was deleted before the position left it")
	}
	r.drain()
	r.want(1, 2, 3, 4, 5)
	if got := r.files(); !slices.Equal(got, []string{"access.jsonl"}) {
		t.Errorf("files %v, want the old one deleted behind the position", got)
	}
}

func TestSpoolManyRotationsLoseNothing(t *testing.T) {
	r := newRig(t)
	r.max = 700
	r.start()
	var want []int
	for id := 1; id <= 60; id++ {
		r.now = r.now.Add(time.Minute)
		l := line(t, id)
		r.write(l[:id])
		r.drain()
		r.write(l[id:])
		if id%7 == 0 {
			r.start() // kill -9
		}
		r.drain()
		want = append(want, id)
	}
	r.want(want...)
	if r.reopens < 10 || len(r.files()) > 2 {
		t.Errorf("%d rotations, files %v", r.reopens, r.files())
	}
}

func TestSpoolAsksAgainUntilThereIsANewFile(t *testing.T) {
	r := newRig(t)
	r.max = 1
	r.start()
	r.reopen = func() error { return errors.New("Envoy is down") }
	r.write(r.lines(1))
	r.drain()
	r.drain()
	if r.reopens != 1 {
		t.Errorf("%d reopens within the pause, want 1", r.reopens)
	}
	r.now = r.now.Add(time.Minute)
	r.reopen = nil
	r.drain()
	r.write(r.lines(2))
	r.drain()
	r.want(1, 2)
	if got := counted(t, r.metrics, "aig_spool_reopen_errors_total"); got != 1 || r.reopens < 2 {
		t.Errorf("%v errors of %d reopens, want 1 of 2 or more", got, r.reopens)
	}
}

func TestSpoolHalfLineAtTheEndOfAFinishedFile(t *testing.T) {
	r := newRig(t)
	r.max = 1
	r.start()
	r.reopen = func() error { return nil }
	r.write(r.lines(1))
	r.drain() // renamed
	r.write(line(t, 2)[:50])
	r.open()
	r.write(r.lines(3))
	r.drain()
	r.want(1, 3)
	if got := counted(t, r.metrics, "aig_log_malformed_total", "file"); got != 1 {
		t.Errorf("%v malformed, want the half line", got)
	}
}

func TestSpoolTruncation(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2, 3))
	r.drain()
	r.must(os.Truncate(r.path, 0))
	r.write(r.lines(4))
	r.drain()
	r.want(1, 2, 3, 4)
	// Cut and grown past the position between two looks.
	r.must(os.Truncate(r.path, 0))
	r.write(r.lines(5, 6, 7))
	r.drain()
	r.want(1, 2, 3, 4, 5, 6, 7)
	if got := counted(t, r.metrics, "aig_spool_truncations_total"); got != 2 {
		t.Errorf("%v truncations, want 2", got)
	}
}

func TestSpoolFileReplacedWhileDown(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1, 2))
	r.drain()
	r.spool.Close()
	r.must(os.Remove(r.path)) // its inode may be used again at once
	r.open()
	r.write(r.lines(3, 4, 5))
	r.start()
	r.drain()
	r.want(1, 2, 3, 4, 5)
}

func TestSpoolFileRemovedWhileUp(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1))
	r.drain()
	r.must(os.Remove(r.path))
	r.write(r.lines(2)) // into the removed file
	r.drain()
	r.want(1, 2)
	r.write(r.lines(3))
	r.drain()
	r.want(1, 2, 3)
	if r.reopens == 0 {
		t.Error("Envoy was not asked for a new file")
	}
}

func TestSpoolCrashBetweenPositionAndDelete(t *testing.T) {
	r := newRig(t)
	r.write(r.lines(1))
	r.drain()
	r.must(os.WriteFile(r.path+".000001", []byte(r.lines(9)), 0o600))
	r.must(os.WriteFile(r.path+".old", nil, 0o600))
	r.start()
	r.drain()
	r.want(1)
	if got := r.files(); !slices.Equal(got, []string{"access.jsonl", "access.jsonl.old"}) {
		t.Errorf("files %v; want the settled one deleted, foreign ones kept", got)
	}
}
