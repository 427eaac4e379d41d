package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// door stands before a provider: it knows who has come, and can keep everybody
// waiting.
type door struct {
	inside http.Handler

	mu      sync.Mutex
	arrived map[string]int // calls by the user member of their bodies
	open    chan struct{}  // what calls wait for; nil: nothing
}

// hold keeps every call that comes from now on waiting until open is closed.
func (d *door) hold(open chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = open
}

// came is how many calls of a user have arrived.
func (d *door) came(user string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.arrived[user]
}

// ServeHTTP takes the whole request, then lets it in.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client left while it sent
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var who struct{ User string }
	_ = json.Unmarshal(body, &who) // whatever it is: the provider judges it
	d.mu.Lock()
	d.arrived[who.User]++
	open := d.open
	d.mu.Unlock()
	if open != nil {
		select {
		case <-open:
		case <-r.Context().Done(): // the end of a test that failed
			return
		}
	}
	d.inside.ServeHTTP(w, r)
}
