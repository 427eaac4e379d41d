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
	calls    CallReader
	refusals RefusalReader // may be nil
	zone     *time.Location
	log      *slog.Logger
}

func (s *callService) ListCalls(ctx context.Context, req *aigatewayv1.ListCallsRequest) (*aigatewayv1.ListCallsResponse, error) {
	q, err := s.query(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListCallsResponse{}
	var calls []budget.Call
	if req.GetAfter() != "" {
		if req.GetPageToken() != "" {
			return nil, budget.Invalid("field_invalid", "after", "after and page_token were both sent; after goes on from its own answers")
		}
		calls, resp.Cursor, err = s.ended(ctx, q, req.GetAfter())
	} else {
		calls, resp.NextPageToken, resp.Cursor, err = s.list(ctx, q, req.GetPageToken())
	}
	if err != nil {
		return nil, err
	}
	for i := range calls {
		resp.Calls = append(resp.Calls, s.proto(&calls[i]))
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
	if err == nil && (len(parts) != 1 || parts[0] != "") {
		q.Tags = parts
	}
	return q, err
}

// list is a page of calls, the token of the next one, and the cursor of now.
func (s *callService) list(ctx context.Context, q budget.CallQuery, token string) (calls []budget.Call, next, cursor string, err error) {
	from, err := readCallPosition(token)
	if err != nil {
		return nil, "", "", err
	}
	var now callCursor
	if now.refused = s.lastRefused(); err == nil {
		now.ended, err = s.calls.LastEnded(ctx)
	}
	if err != nil {
		return nil, "", "", err
	}
	calls, to, err := s.page(ctx, q, from)
	return calls, to.token(), now.token(), err
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

func (s *callService) lastRefused() budget.ReservationID {
	if s.refusals == nil {
		return 0
	}
	return s.refusals.Last()
}

// ended are the calls since a cursor: those that ended, then those refused.
func (s *callService) ended(ctx context.Context, q budget.CallQuery, token string) ([]budget.Call, string, error) {
	c, err := readCallCursor(token)
	if err != nil {
		return nil, "", err
	}
	var out []budget.Call
	if out, c.ended, err = s.calls.EndedCalls(ctx, q, c.ended); err != nil {
		return nil, "", err
	}
	refused := s.refused(&q, 0, time.Time{})
	slices.Reverse(refused)
	for _, r := range refused {
		if r.ID > c.refused && len(out) < q.Limit {
			out, c.refused = append(out, r), r.ID
		}
	}
	return out, c.token(), nil
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

// page merges admitted calls with refused ones, by the time of their decisions.
func (s *callService) page(ctx context.Context, q budget.CallQuery, at callPosition) (out []budget.Call, next callPosition, err error) {
	var admitted budget.CallPage
	if !at.done && q.State != budget.CallRefused {
		q.Before = at.admitted
		if admitted, err = s.calls.Calls(ctx, q); err != nil {
			return nil, next, err
		}
	}
	refused := s.refused(&q, at.refused, admitted.Reached)
	next = at
	for len(out) < q.Limit && len(admitted.Calls)+len(refused) > 0 {
		if len(refused) == 0 || len(admitted.Calls) > 0 && !admitted.Calls[0].DecidedAt.Before(refused[0].DecidedAt) {
			next.admitted, out, admitted.Calls = admitted.Calls[0].ID, append(out, admitted.Calls[0]), admitted.Calls[1:]
			continue
		}
		next.refused, out, refused = refused[0].ID, append(out, refused[0]), refused[1:]
	}
	if len(admitted.Calls) == 0 { // all of this page are out
		next.admitted, next.done = admitted.Before, admitted.Before == 0
	}
	if next.done && len(refused) == 0 {
		next = callPosition{}
	}
	return out, next, nil
}

// refused are the refusals that q selects behind one (0: all), down to a moment.
func (s *callService) refused(q *budget.CallQuery, before budget.ReservationID, down time.Time) []budget.Call {
	if s.refusals == nil || q.State != "" && q.State != budget.CallRefused {
		return nil
	}
	all := s.refusals.Calls(q)
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
