package adminapi

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// budgetProto shows a budget. Cents: spent is rounded up, reserved is what the
// rounded-up sum adds to it, and remaining is the rest of the cap, so that the
// three add up to the cap whenever spent + reserved <= cap.
func budgetProto(s *budget.Status) *aigatewayv1.Budget {
	limit := int64(s.Cap / budget.Cent)
	spent := s.Spent.CeilCents()
	reserved := (s.Spent + s.Reserved).CeilCents() - spent
	out := &aigatewayv1.Budget{
		Id: s.ID, Period: s.Period.String(), TimeZone: zoneName(s.Zone),
		CapCents: limit, SpentCents: spent, ReservedCents: reserved, RemainingCents: max(0, limit-spent-reserved),
		Cap: s.Cap.String(), Spent: s.Spent.String(), Reserved: s.Reserved.String(), Remaining: s.Remaining().String(),
		DefaultMaxTokens: int32(s.DefaultMaxTokens), DefaultMaxToolCalls: int32(s.DefaultMaxToolCalls), // their maxima fit
		Etag: s.Etag(), CreateTime: timestamp(s.CreateTime), UpdateTime: timestamp(s.UpdateTime),
		AsOf: timestamp(s.AsOf.Time), Behind: s.AsOf.Behind,
	}
	if s.Target.KeyID != "" {
		out.KeyId = &s.Target.KeyID
	} else {
		tag := string(s.Target.Tags)
		out.Tag = &tag
	}
	if !s.Window.End.IsZero() {
		out.WindowStart, out.ResetsAt = timestamp(s.Window.Start), timestamp(s.Window.End)
	}
	switch s.Period {
	case budget.Day:
		out.DailyCapCents = &limit
	case budget.Week:
		out.WeeklyCapCents = &limit
	case budget.Total:
		out.TotalCapCents = &limit
	default:
		out.MonthlyCapCents = &limit
	}
	return out
}

// proto is budgetProto with the forecast of now.
func (s *budgetService) proto(b *budget.Status) *aigatewayv1.Budget {
	out := budgetProto(b)
	if f, ok := b.Forecast(s.now()); ok {
		out.Forecast = &aigatewayv1.Forecast{Method: straightLine, Projected: f.Projected.String(), FullAt: timestamp(f.FullAt)}
	}
	return out
}

// defaultsOf are those of a budget or a key, unchecked.
func defaultsOf(in interface {
	GetDefaultMaxTokens() int32
	GetDefaultMaxToolCalls() int32
}) budget.Defaults {
	return budget.Defaults{DefaultMaxTokens: int64(in.GetDefaultMaxTokens()), DefaultMaxToolCalls: int64(in.GetDefaultMaxToolCalls())}
}

// budgetZone is the name under which a budget keeps a zone.
func budgetZone(zone *time.Location) string {
	if zone == time.UTC {
		return "" // as budgets always had it
	}
	return zone.String()
}

func zoneName(zone string) string {
	if zone == "" {
		return "UTC"
	}
	return zone
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func keyProto(k budget.Key) *aigatewayv1.Key {
	out := &aigatewayv1.Key{
		Id: k.ID, Name: k.Name, DefaultTag: string(k.DefaultTag), AllowedModels: k.AllowedModels,
		DefaultMaxTokens: int32(k.DefaultMaxTokens), DefaultMaxToolCalls: int32(k.DefaultMaxToolCalls), // their maxima fit
		CreateTime: timestamp(k.CreateTime), ExpireTime: timestamp(k.ExpireTime),
	}
	if k.MaxWait != nil {
		out.MaxWait = durationpb.New(*k.MaxWait)
	}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	for _, t := range k.AllowedTags {
		out.AllowedTags = append(out.AllowedTags, string(t))
	}
	return out
}

func reservationProto(o budget.Open) *aigatewayv1.Reservation {
	return &aigatewayv1.Reservation{
		Id: strconv.FormatUint(uint64(o.ID), 10), RequestId: o.RequestID,
		KeyId: o.KeyID, Tag: string(o.Tag), Model: o.Model, Provider: o.Provider,
		Bound: o.Bound.String(), ReserveTime: timestamp(o.ReservedAt), ExpireTime: timestamp(o.Deadline),
		Budgets: o.Budgets,
	}
}

// usageProto shows a row with the columns of by; the others stay absent.
func usageProto(r budget.UsageRow, by []budget.Dimension) *aigatewayv1.UsageRow {
	out := &aigatewayv1.UsageRow{
		Requests: r.Requests, UnpricedRequests: r.Unpriced, CostCents: r.Cost.CeilCents(), CostUsd: r.Cost.String(),
		InputTokens: r.Input, CacheReadTokens: r.CacheRead, CacheWriteTokens: r.CacheWrite, OutputTokens: r.Output,
		EstimatedRequests: r.Estimated, EstimatedCostUsd: r.EstimatedCost.String(),
	}
	for _, d := range by {
		text := column(r, d)
		switch d {
		case budget.ByTag:
			out.Tag = &text
		case budget.ByModel:
			out.Model = &text
		case budget.ByProvider:
			out.Provider = &text
		case budget.ByKey:
			out.KeyId = &text
		case budget.ByDay, budget.ByHour:
			out.Time = &text
		}
	}
	return out
}

func column(r budget.UsageRow, d budget.Dimension) string {
	switch d {
	case budget.ByTag:
		return string(r.Tag)
	case budget.ByModel:
		return r.Model
	case budget.ByProvider:
		return r.Provider
	case budget.ByKey:
		return r.KeyID
	default:
		return r.Time.Format(time.RFC3339)
	}
}
