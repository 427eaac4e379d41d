package gatewayconfig

import (
	"slices"
	"testing"
	"time"
)

// An Envoy whose time is up as another one comes back is not waited for; one that was
// cut later still is.
func TestWhoIsLateIsNobodyElse(t *testing.T) {
	b := newAckBook(nil)
	b.mu.Lock()
	for range 2 {
		b.cut(&streamState{stream: &deltaStream{ended: make(chan struct{})}})
	}
	first, second, changed := b.returning[0], b.returning[1], b.changed
	for fired := false; !fired; fired = !first.late.Stop() {
		first.late.Reset(0)
		time.Sleep(time.Millisecond)
	}
	b.back() // is taken for the first one, whose timer has run out and waits for mu
	b.mu.Unlock()
	<-changed
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.returning, []*absence{second}) {
		t.Errorf("%d are waited for, want the second one", len(b.returning))
	}
	second.late.Stop()
}
