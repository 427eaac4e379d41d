package adminapi

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// ReservationReader lists open reservations, oldest first, at most limit.
type ReservationReader interface {
	OpenReservations(limit int) []budget.Open
}

type reservationService struct {
	aigatewayv1.UnimplementedReservationServiceServer
	peers Peers // may be nil
	kind  kind[openQuestion, openAnswer]
}

// openQuestion asks for the oldest reservations.
type openQuestion struct {
	Limit int `json:"limit"`
}

type openAnswer struct {
	Open []budget.Open `json:"open"`
	// Cut: there are more, within the limit, that the answer has no room for.
	Cut bool `json:"cut,omitempty"`
}

func reservationsKind(c *Config) kind[openQuestion, openAnswer] {
	return kind[openQuestion, openAnswer]{name: "reservations", here: func(_ context.Context, q openQuestion, most int) (openAnswer, error) {
		open := c.Reservations.OpenReservations(q.Limit)
		n := len(open)
		if most < math.MaxInt {
			n = fitting(open, most)
		}
		return openAnswer{Open: open[:n], Cut: n < len(open)}, nil
	}}
}

func (s *reservationService) ListReservations(ctx context.Context, req *aigatewayv1.ListReservationsRequest) (*aigatewayv1.ListReservationsResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	answers, unreachable, err := s.kind.ask(ctx, s.peers, openQuestion{size})
	if err != nil {
		return nil, err
	}
	type of struct {
		budget.Open
		replica string
	}
	var all []of
	var cut time.Time // what is younger may not be all
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		a := answers[id]
		for _, o := range a.Open {
			all = append(all, of{o, id})
		}
		if n := len(a.Open); a.Cut && n > 0 && (cut.IsZero() || a.Open[n-1].ReservedAt.Before(cut)) {
			cut = a.Open[n-1].ReservedAt
		}
	}
	if len(answers) > 1 {
		slices.SortStableFunc(all, func(a, b of) int { return a.ReservedAt.Compare(b.ReservedAt) })
	}
	resp := &aigatewayv1.ListReservationsResponse{Unreachable: unreachable}
	for _, o := range all[:min(len(all), size)] {
		if !cut.IsZero() && o.ReservedAt.After(cut) {
			break
		}
		out := reservationProto(o.Open)
		if o.replica != "" {
			out.Replica = &o.replica
		}
		resp.Reservations = append(resp.Reservations, out)
	}
	return resp, nil
}

// runningQuestion asks for the sum of the running calls that a key sees.
type runningQuestion struct {
	Tags []budget.TagPattern `json:"tags"` // that the key sees
}

type runningAnswer struct {
	Calls    int64         `json:"calls"`
	Reserved budget.Amount `json:"reserved"`
}

func runningKind(c *Config) kind[runningQuestion, runningAnswer] {
	return kind[runningQuestion, runningAnswer]{name: "running", here: func(_ context.Context, q runningQuestion, _ int) (a runningAnswer, _ error) {
		if len(q.Tags) == 0 {
			return a, errNoRights
		}
		key := &budget.Key{AllowedTags: q.Tags}
		for _, o := range c.Reservations.OpenReservations(math.MaxInt) {
			if sees(key, budget.TagPattern(o.Tag)) {
				a.Calls++
				a.Reserved = a.Reserved.Plus(o.Bound)
			}
		}
		return a, nil
	}}
}
