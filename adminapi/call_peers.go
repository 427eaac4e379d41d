package adminapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// peerCall is a call and the gateway that decided it; "" where one is alone.
type peerCall struct {
	budget.Call
	replica string
}

func ofNobody(calls []budget.Call) (out []peerCall) {
	for _, c := range calls {
		out = append(out, peerCall{Call: c})
	}
	return out
}

// callQuestion asks for a page of calls.
type callQuestion struct {
	Query budget.CallQuery `json:"query"`
	// From is where each gateway's page begins, by its id, as an earlier answer had it;
	// nil: at the front. One that is not named is not part of the list.
	From map[string]string `json:"from"`
}

type callAnswer struct {
	Calls []budget.Call `json:"calls"`
	// Behind is where a page begins behind each of Calls, Next behind all; "": nothing
	// is left.
	Behind []string `json:"behind"`
	Next   string   `json:"next"`
	// Newest: nothing that is left was decided later.
	Newest time.Time `json:"newest"`
	Now    string    `json:"now"` // the cursor of before
}

func callsKind(c *Config) kind[callQuestion, callAnswer] {
	here := callLists{c.Calls, c.Refusals}
	return kind[callQuestion, callAnswer]{name: "calls", past: true, here: func(ctx context.Context, q callQuestion, most int) (a callAnswer, err error) {
		if len(q.Query.Tags) == 0 {
			return a, errNoRights
		}
		from := ""
		if q.From != nil {
			from = q.From[c.self()]
		}
		if from == listed || q.From != nil && from == "" {
			return callAnswer{}, nil
		}
		at, err := readCallPosition(from)
		if from == front {
			at, err = callPosition{}, nil
		}
		if err != nil {
			return a, err
		}
		now, err := here.now(ctx)
		if err != nil {
			return a, err
		}
		page, next, newest, err := here.page(ctx, q.Query, at)
		if err != nil {
			return a, err
		}
		a.Now, a.Newest, a.Next = now.token(), newest, next.token()
		if n := fitting(page, most); n < len(page) {
			if n == 0 { // one always fits: it has some kilobytes
				n = 1
			}
			page, a.Next, a.Newest = page[:n], page[n-1].behind.token(), page[n-1].DecidedAt
		}
		for _, p := range page {
			a.Calls, a.Behind = append(a.Calls, p.Call), append(a.Behind, p.behind.token())
		}
		return a, nil
	}}
}

// What a page token says of a gateway in place of a position.
const (
	front  = "^" // nothing of its list has come yet
	listed = "$" // all has
)

// page is a page of calls of all gateways, the newest first. A list goes on with those
// gateways with which it began.
func (s *callService) page(ctx context.Context, q budget.CallQuery, token string, resp *aigatewayv1.ListCallsResponse) ([]peerCall, error) {
	if s.peers == nil {
		return s.ownPage(ctx, q, token, resp)
	}
	from, err := readPlaces(token, badPageToken)
	if err != nil {
		return nil, err
	}
	answers, unreachable, err := s.list.ask(ctx, s.peers, callQuestion{q, from})
	if err != nil {
		return nil, err
	}
	if from == nil {
		from = map[string]string{}
		for id := range answers {
			from[id] = front
		}
		for _, id := range unreachable {
			from[id] = front
		}
		now := map[string]string{s.now().UTC().Format(time.RFC3339): cursorTime}
		for id, a := range answers {
			now[id] = a.Now
		}
		resp.Cursor = placesToken(now)
	}
	next := map[string]string{}
	for id, at := range from {
		next[id] = at
		if _, ok := answers[id]; !ok && at != listed {
			resp.Unreachable = append(resp.Unreachable, id)
		}
	}
	slices.Sort(resp.Unreachable)
	out, more := mergeCalls(q.Limit, from, answers, next)
	if more {
		resp.NextPageToken = placesToken(next)
	}
	return out, nil
}

// mergeCalls takes the newest calls of all answers, up to limit, none of which could
// be older than one that is to come, sets in next where each list goes on, and reports
// whether there is more.
func mergeCalls(limit int, from map[string]string, answers map[string]callAnswer, next map[string]string) (out []peerCall, more bool) {
	taken := map[string]int{}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		if from[id] != "" && from[id] != listed {
			ids = append(ids, id)
		}
	}
	for len(out) < limit {
		best := ""
		var floor time.Time
		for _, id := range ids {
			a, n := answers[id], taken[id]
			switch {
			case n == len(a.Calls):
				if a.Next != "" && a.Newest.After(floor) {
					floor = a.Newest
				}
			case best == "" || a.Calls[n].DecidedAt.After(answers[best].Calls[taken[best]].DecidedAt):
				best = id
			}
		}
		if best == "" || answers[best].Calls[taken[best]].DecidedAt.Before(floor) {
			break
		}
		out = append(out, peerCall{answers[best].Calls[taken[best]], best})
		taken[best]++
	}
	for _, id := range ids {
		switch a, n := answers[id], taken[id]; {
		case n == len(a.Calls) && a.Next == "":
			next[id] = listed
		case n == len(a.Calls):
			next[id], more = a.Next, true
		case n > 0:
			next[id], more = a.Behind[n-1], true
		default:
			more = true
		}
	}
	return out, more
}

// ownPage is page for a gateway that is alone.
func (s *callService) ownPage(ctx context.Context, q budget.CallQuery, token string, resp *aigatewayv1.ListCallsResponse) ([]peerCall, error) {
	from, err := readCallPosition(token)
	if err != nil {
		return nil, err
	}
	now, err := s.here.now(ctx)
	if err != nil {
		return nil, err
	}
	page, next, _, err := s.here.page(ctx, q, from)
	resp.NextPageToken, resp.Cursor = next.token(), now.token()
	var out []peerCall
	for _, p := range page {
		out = append(out, peerCall{Call: p.Call})
	}
	return out, err
}

// endedQuestion asks for what ended since a cursor.
type endedQuestion struct {
	Query budget.CallQuery `json:"query"`
	// After is each gateway's cursor, by its id. One that is not named tells of what was
	// decided at Since and later.
	After map[string]string `json:"after"`
	Since time.Time         `json:"since"`
}

type endedAnswer struct {
	Calls  []budget.Call `json:"calls"`
	Cursor string        `json:"cursor"`
}

func endedKind(c *Config) kind[endedQuestion, endedAnswer] {
	here := callLists{c.Calls, c.Refusals}
	return kind[endedQuestion, endedAnswer]{name: "ended", here: func(ctx context.Context, q endedQuestion, most int) (a endedAnswer, err error) {
		if len(q.Query.Tags) == 0 {
			return a, errNoRights
		}
		q.Query.Limit = max(1, min(q.Query.Limit, most/endedBytes))
		token := q.After[c.self()]
		if token == "" {
			return here.endedSince(ctx, q.Query, q.Since)
		}
		cursor, err := readCallCursor(token)
		if err != nil {
			return a, err
		}
		a.Calls, cursor, err = here.since(ctx, q.Query, cursor)
		a.Cursor = cursor.token()
		return a, err
	}}
}

// endedBytes is more than the JSON of a call has.
const endedBytes = 16 << 10

// endedSince are the last calls that were decided at a moment or later and have ended
// or were refused, the first one first, and the cursor behind them.
func (l callLists) endedSince(ctx context.Context, q budget.CallQuery, since time.Time) (a endedAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	if since.After(q.Since) {
		q.Since = since
	}
	page, _, _, err := l.page(ctx, q, callPosition{})
	for _, p := range slices.Backward(page) {
		if p.State != budget.CallRunning {
			a.Calls = append(a.Calls, p.Call)
		}
	}
	a.Cursor = now.token()
	return a, err
}

// since are the calls of all gateways since a cursor.
func (s *callService) since(ctx context.Context, q budget.CallQuery, token string, resp *aigatewayv1.ListCallsResponse) ([]peerCall, error) {
	if s.peers == nil {
		cursor, err := readCallCursor(token)
		if err != nil {
			return nil, err
		}
		calls, cursor, err := s.here.since(ctx, q, cursor)
		resp.Cursor = cursor.token()
		return ofNobody(calls), err
	}
	places, err := readPlaces(token, badCursor)
	if err != nil {
		return nil, err
	}
	begun, ok := begunAt(places)
	if !ok {
		return nil, badCursor()
	}
	limit := q.Limit
	q.Limit = max(1, limit/max(1, len(places)))
	answers, unreachable, err := s.ended.ask(ctx, s.peers, endedQuestion{q, places, begun})
	if err != nil {
		return nil, err
	}
	var out []peerCall
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		a := answers[id]
		if len(out)+len(a.Calls) > limit {
			continue // it comes with the next answer
		}
		for _, c := range a.Calls {
			out = append(out, peerCall{c, id})
		}
		places[id] = a.Cursor
	}
	slices.SortStableFunc(out, func(a, b peerCall) int { return ended(&a.Call).Compare(ended(&b.Call)) })
	resp.Cursor, resp.Unreachable = placesToken(places), unreachable
	return out, nil
}

// ended is when a call ended or was refused, as far as that is known.
func ended(c *budget.Call) time.Time {
	return cmp.Or(c.EndedAt, c.DecidedAt)
}

// cursorTime marks, among the places of a cursor, the moment of its making.
const cursorTime = "@"

func begunAt(places map[string]string) (t time.Time, ok bool) {
	for name, mark := range places {
		if mark == cursorTime {
			t, err := time.Parse(time.RFC3339, name)
			return t, err == nil
		}
	}
	return t, false
}

// placesToken is a token that says of each gateway where its list goes on.
func placesToken(places map[string]string) string {
	text, _ := json.Marshal(places) // a map of texts has no error
	return pageToken(string(text))
}

// maxPlaces is the longest token, in bytes: it is a part of each question.
const maxPlaces = 64 << 10

// readPlaces reads placesToken; nil is of no token.
func readPlaces(token string, bad func() *budget.Error) (places map[string]string, err error) {
	if len(token) > maxPlaces {
		return nil, bad()
	}
	text, err := after(token)
	if text == "" && err == nil {
		return nil, nil
	}
	if err != nil || json.Unmarshal([]byte(text), &places) != nil || len(places) == 0 {
		return nil, bad()
	}
	return places, nil
}
