package webui

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"aigateway/budget"
)

const (
	ticketFor  = 5 * time.Minute
	maxTickets = 100 // of more, the oldest end
)

// tickets are addresses of the page that sign in once, in memory.
type tickets struct {
	mu   sync.Mutex
	byID map[string]signIn
}

func (t *tickets) add(secret string, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := ""
	for id, in := range t.byID {
		if !now.Before(in.until) {
			delete(t.byID, id)
		} else if oldest == "" || in.until.Before(t.byID[oldest].until) {
			oldest = id
		}
	}
	if len(t.byID) >= maxTickets {
		delete(t.byID, oldest)
	}
	if t.byID == nil {
		t.byID = map[string]signIn{}
	}
	id := rand.Text()
	t.byID[id] = signIn{secret, now.Add(ticketFor)}
	return id
}

// use is the secret of a ticket, once.
func (t *tickets) use(id string, now time.Time) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in, ok := t.byID[id]
	delete(t.byID, id)
	if !ok || !now.Before(in.until) {
		return "", &budget.Error{Kind: budget.KindUnauthenticated, Reason: "ticket_used", Message: "this address was used already, or is older than five minutes; `aigateway ui` prints another, and a key signs in too"}
	}
	return in.secret, nil
}

// ticket answers a program that has a key with an address that signs a browser in. The
// ticket is behind the #, which browsers send nowhere.
func (h *Handler) ticket(w http.ResponseWriter, r *http.Request) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var err error
	switch {
	case r.Method != http.MethodPost:
		err = budget.NotFound("route_unknown", "use POST")
	case !ok || r.Header.Get("Sec-Fetch-Site") != "": // no page asks, whoever's it is
		err = &budget.Error{Kind: budget.KindUnauthenticated, Reason: "key_missing", Message: "send Authorization: Bearer " + budget.KeyPrefix + "…, from a program; `aigateway ui` does"}
	default:
		_, err = h.Auth.Authenticate(secret)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"path": "/ui/#/ticket/" + h.tickets.add(secret, h.Now())})
}
