package webui

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"aigateway/budget"
)

const (
	ticketFor  = 5 * time.Minute
	maxTickets = 100 // that are kept
)

// useTicket is the secret of a ticket, once.
func (h *Handler) useTicket(ctx context.Context, id string) (string, error) {
	in, _, ok, err := h.tickets.get(ctx, id, h.Now())
	if ok {
		ok, err = h.tickets.end(ctx, id)
	}
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &budget.Error{Kind: budget.KindUnauthenticated, Reason: "ticket_used", Message: "this address was used already, or is older than five minutes; `aigateway ui` prints another, and a key signs in too"}
	}
	return in.Secret, nil
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
		_, err = h.visitor(secret)
	}
	id := ""
	if err == nil {
		now := h.Now()
		id, err = h.tickets.add(r.Context(), session{Secret: secret}, now, now.Add(ticketFor))
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"path": "/ui/#/ticket/" + id})
}
