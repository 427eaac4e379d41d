package adminapi

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
	"aigateway/pricing"
)

// CallReader lists calls that were admitted.
type CallReader interface {
	Calls(ctx context.Context, q budget.CallQuery) (budget.CallPage, error)
	// LastEnded is where the last call ended, EndedCalls what ended from a cursor on
	// and the cursor behind it.
	LastEnded(ctx context.Context) (budget.CallCursor, error)
	EndedCalls(ctx context.Context, q budget.CallQuery, from budget.CallCursor) ([]budget.Call, budget.CallCursor, error)
}

// RefusalReader has the calls that were refused and are remembered: those that q
// selects, the last one first. It ignores Before and Limit.
type RefusalReader interface {
	Calls(q *budget.CallQuery) []budget.Call
	// Last is the number of the call that was refused last: later ones have larger
	// numbers.
	Last() budget.ReservationID
}

type callService struct {
	aigatewayv1.UnimplementedCallServiceServer
	peers Peers // may be nil
	here  callLists
	list  kind[callQuestion, callAnswer]
	ended kind[endedQuestion, endedAnswer]
	now   func() time.Time
	zone  *time.Location
	log   *slog.Logger
}

// callLists are this gateway's lists of calls.
type callLists struct {
	calls    CallReader
	refusals RefusalReader // may be nil
}

func (s *callService) ListCalls(ctx context.Context, req *aigatewayv1.ListCallsRequest) (*aigatewayv1.ListCallsResponse, error) {
	q, err := s.query(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.GetAfter() != "" && req.GetPageToken() != "" {
		return nil, budget.Invalid("field_invalid", "after", "after and page_token were both sent; after goes on from its own answers")
	}
	resp := &aigatewayv1.ListCallsResponse{}
	var calls []peerCall
	if req.GetAfter() != "" {
		calls, err = s.since(ctx, q, req.GetAfter(), resp)
	} else {
		calls, err = s.page(ctx, q, req.GetPageToken(), resp)
	}
	if err != nil {
		return nil, err
	}
	for i := range calls {
		out := s.proto(&calls[i].Call)
		if calls[i].replica != "" {
			out.Replica = &calls[i].replica
		}
		resp.Calls = append(resp.Calls, out)
	}
	return resp, nil
}

func (s *callService) query(ctx context.Context, req *aigatewayv1.ListCallsRequest) (q budget.CallQuery, err error) {
	q = budget.CallQuery{KeyID: req.GetKey(), Model: req.GetModel(), RequestID: req.GetRequestId(), State: budget.CallState(req.GetState())}
	switch q.State {
	case "", budget.CallRunning, budget.CallSettled, budget.CallExpired, budget.CallRefused:
	default:
		return q, budget.Invalid("field_invalid", "state", fmt.Sprintf("state is %q; use running, settled, expired or refused, or leave it out for all", clip(req.GetState())))
	}
	if q.Limit, err = pageSize(req.GetPageSize()); err != nil {
		return q, err
	}
	if req.GetSince() != "" {
		if q.Since, err = parseMoment("since", req.GetSince(), s.zone); err != nil {
			return q, err
		}
	}
	tags, err := tagFilter(req.GetTag())
	if err != nil {
		return q, err
	}
	parts, err := selections(caller(ctx), tags)
	if len(parts) == 1 && parts[0] == "" {
		parts = rights(caller(ctx))
	}
	q.Tags = parts
	return q, err
}

// callCursor is a place in the order in which calls ended or were refused.
type callCursor struct {
	ended   budget.CallCursor
	refused budget.ReservationID
}

func (c callCursor) token() string {
	return pageToken(fmt.Sprintf("%d.%d.%d", c.ended.Link, c.ended.Calls, c.refused))
}

func readCallCursor(token string) (c callCursor, err error) {
	text, err := after(token)
	parts := strings.Split(text, ".")
	if err != nil || len(parts) != 3 {
		return c, badCursor()
	}
	var n [3]uint64
	for i, p := range parts {
		if n[i], err = strconv.ParseUint(p, 10, 62); err != nil {
			return c, badCursor()
		}
	}
	return callCursor{budget.CallCursor{Link: n[0], Calls: int(n[1])}, budget.ReservationID(n[2])}, nil
}

func badCursor() *budget.Error {
	return budget.Invalid("field_invalid", "after", "after is none of ours; use cursor of an earlier answer")
}

// now is the cursor of this moment.
func (l callLists) now(ctx context.Context) (c callCursor, err error) {
	if l.refusals != nil {
		c.refused = l.refusals.Last()
	}
	c.ended, err = l.calls.LastEnded(ctx)
	return c, err
}

// since are the calls since a cursor: those that ended, then those refused.
func (l callLists) since(ctx context.Context, q budget.CallQuery, c callCursor) (out []budget.Call, _ callCursor, err error) {
	if out, c.ended, err = l.calls.EndedCalls(ctx, q, c.ended); err != nil {
		return nil, c, err
	}
	refused := l.refused(&q, 0, time.Time{})
	slices.Reverse(refused)
	for _, r := range refused {
		if r.ID > c.refused && len(out) < q.Limit {
			out, c.refused = append(out, r), r.ID
		}
	}
	return out, c, nil
}

// callPosition is where a page of calls begins: behind a call that was admitted and
// behind one that was refused. Zeros are the front.
type callPosition struct {
	admitted, refused budget.ReservationID
	done              bool // no admitted calls are left
}

func (p callPosition) token() string {
	if p == (callPosition{}) {
		return ""
	}
	return pageToken(fmt.Sprintf("%d.%d.%t", p.admitted, p.refused, p.done))
}

func readCallPosition(token string) (p callPosition, err error) {
	text, err := after(token)
	if text == "" || err != nil {
		return p, err
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return p, badPageToken()
	}
	admitted, err1 := strconv.ParseUint(parts[0], 10, 63)
	refused, err2 := strconv.ParseUint(parts[1], 10, 63)
	done, err3 := strconv.ParseBool(parts[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return p, badPageToken()
	}
	return callPosition{budget.ReservationID(admitted), budget.ReservationID(refused), done}, nil
}

// placedCall is a call and where a page begins behind it.
type placedCall struct {
	budget.Call
	behind callPosition
}

// page merges admitted calls with refused ones, by the time of their decisions. What
// is not on it was decided at newest or before.
func (l callLists) page(ctx context.Context, q budget.CallQuery, at callPosition) (out []placedCall, next callPosition, newest time.Time, err error) {
	var admitted budget.CallPage
	if !at.done && q.State != budget.CallRefused {
		q.Before = at.admitted
		if admitted, err = l.calls.Calls(ctx, q); err != nil {
			return nil, next, newest, err
		}
	}
	newest = admitted.Reached
	refused := l.refused(&q, at.refused, newest)
	next = at
	for len(out) < q.Limit && len(admitted.Calls)+len(refused) > 0 {
		var c budget.Call
		if len(refused) == 0 || len(admitted.Calls) > 0 && !admitted.Calls[0].DecidedAt.Before(refused[0].DecidedAt) {
			c, admitted.Calls = admitted.Calls[0], admitted.Calls[1:]
			next.admitted = c.ID
		} else {
			c, refused = refused[0], refused[1:]
			next.refused = c.ID
		}
		out = append(out, placedCall{c, next})
		if len(out) == q.Limit {
			newest = c.DecidedAt
		}
	}
	if len(admitted.Calls) == 0 { // all of this page are out
		next.admitted, next.done = admitted.Before, admitted.Before == 0
	}
	if next.done && len(refused) == 0 {
		next = callPosition{}
	}
	return out, next, newest, nil
}

// refused are the refusals that q selects behind one (0: all), down to a moment.
func (l callLists) refused(q *budget.CallQuery, before budget.ReservationID, down time.Time) []budget.Call {
	if l.refusals == nil || q.State != "" && q.State != budget.CallRefused {
		return nil
	}
	all := l.refusals.Calls(q)
	from, to := 0, len(all)
	for before != 0 && from < len(all) && all[from].ID >= before {
		from++
	}
	for to > from && all[to-1].DecidedAt.Before(down) {
		to--
	}
	return all[from:to]
}

func (s *callService) proto(c *budget.Call) *aigatewayv1.Call {
	out := &aigatewayv1.Call{
		RequestId: c.RequestID, State: string(c.State), KeyId: c.KeyID, Tag: string(c.Tag), Model: c.Model, Provider: c.Provider,
		DecideTime: timestamp(c.DecidedAt), BoundUsd: c.Bound.String(), Unpriced: c.Unpriced, Budgets: c.Budgets,
		EndTime: timestamp(c.EndedAt), Basis: string(c.Basis), InputTokens: c.Input, CacheReadTokens: c.CacheRead,
		CacheWriteTokens: c.CacheWrite, OutputTokens: c.Output, ServedModel: c.Served, Reason: c.Reason, Repeats: c.Repeats,
	}
	if c.State != budget.CallRefused {
		out.Id = strconv.FormatUint(uint64(c.ID), 10)
	}
	if !c.EndedAt.IsZero() {
		ms := c.EndedAt.Sub(c.DecidedAt).Milliseconds()
		out.LatencyMs = &ms
	}
	if c.Status != 0 {
		status := int32(c.Status)
		out.ProviderStatus = &status
	}
	if c.State == budget.CallSettled || c.State == budget.CallExpired {
		cost := c.Cost.String()
		out.CostUsd = &cost
	}
	lines, err := pricing.RecordedLines(c.Arithmetic, c.Bound)
	if err != nil { // the call is found all the same
		s.log.Warn("the arithmetic of a call cannot be read", "request_id", c.RequestID, "error", err)
	}
	for _, l := range lines {
		out.Lines = append(out.Lines, &aigatewayv1.ExplanationLine{
			Label: l.Label, Quantity: l.Quantity, Unit: l.Unit, PicoUsdPerUnit: l.PicoPerUnit, AmountUsd: l.Amount.String(), Note: l.Note,
		})
	}
	if r := c.Refusal; r != nil {
		out.Refusal = &aigatewayv1.CallRefusal{
			CapUsd: r.Budget.Cap.String(), SpentUsd: r.Spent.String(), ReservedUsd: r.Reserved.String(), RemainingUsd: r.Remaining().String(),
			MaxTokensThatFit: r.MaxTokensThatFit, ResetsAt: timestamp(r.ResetsAt),
		}
	}
	return out
}
