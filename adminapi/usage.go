package adminapi

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// UsageReader reports settled calls. Rows come in any order. Among several gateways a
// report has what Config.AsOf, which is called before it, has brought up to date.
type UsageReader interface {
	Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error)
	// TagCosts is the report by tag of w, for the tags that a pattern selects;
	// the empty one selects all.
	TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error)
}

type usageService struct {
	aigatewayv1.UnimplementedUsageServiceServer
	usage    UsageReader
	complete func(context.Context) (budget.AsOf, error) // may be nil
	now      func() time.Time
	zone     *time.Location
}

// asOf says how complete the usage is that is read after it.
func (s *usageService) asOf(ctx context.Context) (budget.AsOf, error) {
	if s.complete == nil {
		return budget.AsOf{}, nil
	}
	return s.complete(ctx)
}

// maxRows keeps a report below maxAnswerBytes and in memory.
const maxRows = 50_000

func (s *usageService) UsageByTag(ctx context.Context, req *aigatewayv1.UsageByTagRequest) (*aigatewayv1.UsageByTagResponse, error) {
	rows, asOf, err := s.byTag(ctx, req)
	if err != nil {
		return nil, err
	}
	return &aigatewayv1.UsageByTagResponse{Usage: tagUsageProto(rows), AsOf: timestamp(asOf.Time), Behind: asOf.Behind}, nil
}

// streamRows is how many rows go into one message of a stream.
const streamRows = 1000

func (s *usageService) StreamUsageByTag(req *aigatewayv1.StreamUsageByTagRequest, stream grpc.ServerStreamingServer[aigatewayv1.StreamUsageByTagResponse]) error {
	rows, asOf, err := s.byTag(stream.Context(), req)
	if err != nil {
		return err
	}
	if !asOf.Time.IsZero() {
		if err := stream.Send(&aigatewayv1.StreamUsageByTagResponse{AsOf: timestamp(asOf.Time), Behind: asOf.Behind}); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(rows, streamRows) {
		if err := stream.Send(&aigatewayv1.StreamUsageByTagResponse{Usage: tagUsageProto(part)}); err != nil {
			return err
		}
	}
	return nil
}

// byTagRequest is what both rpcs by tag ask for.
type byTagRequest interface {
	GetMonth() string
	GetTag() string
	GetLimit() int32
	ProtoReflect() protoreflect.Message
}

// byTag is the report by tag that the caller may see, the highest cost first.
// It holds one small row for each tag, because only the whole can be sorted.
func (s *usageService) byTag(ctx context.Context, req byTagRequest) (rows []budget.TagCost, asOf budget.AsOf, err error) {
	window, err := s.month(req.GetMonth())
	if err != nil {
		return nil, asOf, err
	}
	m := req.ProtoReflect()
	limited := m.Has(m.Descriptor().Fields().ByName("limit"))
	if limited && req.GetLimit() < 1 {
		return nil, asOf, budget.Invalid("field_invalid", "limit", fmt.Sprintf("limit is %d; ask for 1 row or more, or leave it out for all", req.GetLimit()))
	}
	tags, err := tagFilter(req.GetTag())
	if err != nil {
		return nil, asOf, err
	}
	rows, asOf, err = s.tagCosts(ctx, window, tags)
	if err != nil {
		return nil, asOf, err
	}
	slices.SortFunc(rows, func(a, b budget.TagCost) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(a.Tag, b.Tag))
	})
	if limited {
		rows = rows[:min(len(rows), int(req.GetLimit()))]
	}
	return rows, asOf, nil
}

// month reads YYYY-MM; the empty text is this month.
func (s *usageService) month(text string) (budget.Window, error) {
	if text == "" {
		return budget.Month.WindowAt(s.now(), s.zone), nil
	}
	w, err := budget.ParseMonth("month", text, s.zone)
	if err != nil {
		return budget.Window{}, err
	}
	return w, checkSpan("month", w)
}

// tagCosts is the report by tag of w, in any order, for what the caller may see, and
// how complete it is.
func (s *usageService) tagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) (rows []budget.TagCost, asOf budget.AsOf, err error) {
	parts, err := selections(caller(ctx), tags)
	if err == nil {
		asOf, err = s.asOf(ctx)
	}
	if err != nil {
		return nil, asOf, err
	}
	for _, p := range parts { // disjoint, so no tag comes twice
		more, err := s.usage.TagCosts(ctx, w, p)
		if err != nil {
			return nil, asOf, err
		}
		rows = append(rows, more...)
	}
	return rows, asOf, nil
}

func tagUsageProto(rows []budget.TagCost) []*aigatewayv1.TagUsage {
	out := make([]*aigatewayv1.TagUsage, 0, len(rows))
	for _, r := range rows {
		out = append(out, &aigatewayv1.TagUsage{Tag: string(r.Tag), Requests: r.Requests, CostCents: r.Cost.CeilCents()})
	}
	return out
}

func (s *usageService) QueryUsage(ctx context.Context, req *aigatewayv1.QueryUsageRequest) (*aigatewayv1.QueryUsageResponse, error) {
	zone := s.zone
	if req.GetTimeZone() != "" {
		z, err := budget.ParseZone("time_zone", req.GetTimeZone())
		if err != nil {
			return nil, err
		}
		zone = z
	}
	window, err := s.span(req, zone)
	if err != nil {
		return nil, err
	}
	by, err := dimensions(req.GetGroupBy())
	if err != nil {
		return nil, err
	}
	tags, err := tagFilter(req.GetTag())
	if err != nil {
		return nil, err
	}
	rows, asOf, err := s.rows(ctx, budget.UsageQuery{
		Window: window, GroupBy: by, Zone: zone,
		Tags: tags, Model: req.GetModel(), Provider: req.GetProvider(), KeyID: req.GetKeyId(),
	})
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.QueryUsageResponse{
		From: window.Start.In(zone).Format(time.RFC3339), To: window.End.In(zone).Format(time.RFC3339), TimeZone: zone.String(),
		AsOf: timestamp(asOf.Time), Behind: asOf.Behind,
	}
	for _, d := range by {
		resp.GroupBy = append(resp.GroupBy, string(d))
	}
	var total budget.UsageRow
	for _, r := range rows {
		total.Add(r)
		resp.Rows = append(resp.Rows, usageProto(r, by))
	}
	resp.Total = usageProto(total, nil)
	return resp, nil
}

// rows runs q for what the caller may see, in the order of a report: by time,
// then the highest cost first, then by name. asOf says how complete that is.
func (s *usageService) rows(ctx context.Context, q budget.UsageQuery) (all []budget.UsageRow, asOf budget.AsOf, err error) {
	parts, err := selections(caller(ctx), q.Tags)
	if err == nil {
		asOf, err = s.asOf(ctx)
	}
	if err != nil {
		return nil, asOf, err
	}
	for _, p := range parts {
		q.Tags = p
		rows, err := s.usage.Usage(ctx, q)
		if err != nil {
			return nil, asOf, err
		}
		all = append(all, rows...)
	}
	if len(parts) > 1 {
		all = mergeRows(all)
	}
	if len(all) > maxRows {
		return nil, asOf, budget.Invalid("report_too_large", "group_by", fmt.Sprintf("the report would have %d rows, more than %d; take a shorter span, a filter or fewer dimensions", len(all), maxRows))
	}
	if slices.Contains(q.GroupBy, budget.ByDay) || slices.Contains(q.GroupBy, budget.ByHour) {
		for i := range all {
			all[i].Time = all[i].Time.In(q.Zone)
		}
	}
	slices.SortFunc(all, func(a, b budget.UsageRow) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(b.Cost, a.Cost), cmp.Compare(a.Tag, b.Tag),
			cmp.Compare(a.Model, b.Model), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.KeyID, b.KeyID))
	})
	return all, asOf, nil
}

// mergeRows adds up rows of one group that came from several queries.
func mergeRows(rows []budget.UsageRow) []budget.UsageRow {
	type group struct {
		budget.Attribution
		time int64
	}
	at := make(map[group]int, len(rows))
	var out []budget.UsageRow
	for _, r := range rows {
		g := group{r.Attribution, r.Time.UnixNano()}
		i, ok := at[g]
		if !ok {
			at[g] = len(out)
			out = append(out, r)
			continue
		}
		out[i].Add(r)
	}
	return out
}

func tagFilter(s string) (budget.TagPattern, error) {
	if s == "" {
		return "", nil
	}
	return budget.ParseTagPattern("tag", s)
}
