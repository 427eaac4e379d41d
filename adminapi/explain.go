package adminapi

import (
	"context"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/apierror"
	"aigateway/budget"
)

// Explainer computes what a call would reserve, without reserving it. It is
// called by many goroutines; its errors are *budget.Error, those of the call
// itself first of all.
type Explainer interface {
	Explain(ctx context.Context, key *budget.Key, q ExplainQuery) (*Explanation, error)
}

// ExplainQuery is what to explain.
type ExplainQuery struct {
	Endpoint string // as in pricing.Endpoint; empty: chat
	Model    string // slug to price instead of the body's; empty: the body's
	Tag      budget.Tag
	Body     []byte
}

// Explanation is the worst case of one request. The names are those of the
// command line's JSON.
type Explanation struct {
	Model         string            `json:"model"`
	UpstreamModel string            `json:"upstream_model"`
	Endpoint      string            `json:"endpoint"`
	Stream        bool              `json:"stream"`
	Lines         []ExplanationLine `json:"lines"`
	BoundUSD      string            `json:"bound_usd"`
	// InjectedMaxTokens is the output cap the gateway would insert.
	InjectedMaxTokens *int64           `json:"injected_max_tokens,omitzero"`
	Room              *ExplanationRoom `json:"room,omitzero"`
	// Learned is what the tag's calls cost of what they held; nil: none ended.
	Learned         *ExplanationLearned `json:"learned,omitzero"`
	CatalogVersion  string              `json:"catalog_version"`
	PricesCheckedAt string              `json:"prices_checked_at"`
}

// ExplanationLine is one line of the arithmetic.
type ExplanationLine struct {
	Label       string `json:"label"`
	Quantity    int64  `json:"quantity"`
	Unit        string `json:"unit"`
	PicoPerUnit int64  `json:"pico_usd_per_unit"`
	AmountUSD   string `json:"amount_usd"`
	Note        string `json:"note,omitzero"`
}

// ExplanationLearned compares bounds with costs, over the tag's calls that were
// charged by their providers' reports since the gateway started.
type ExplanationLearned struct {
	Tag           string `json:"tag"`
	Calls         int64  `json:"calls"`
	BoundUSD      string `json:"bound_usd"`
	CostUSD       string `json:"cost_usd"`
	BoundOverCost string `json:"bound_over_cost"` // a decimal
	LikelyUSD     string `json:"likely_usd"`      // this call's bound at that ratio
}

// ExplanationRoom compares the bound with what is left.
type ExplanationRoom struct {
	Budget  string `json:"budget,omitzero"` // id; empty: an amount of the caller's
	RoomUSD string `json:"room_usd"`
	Fits    bool   `json:"fits"`
	// MaxTokensThatFit is null when not even the input fits.
	MaxTokensThatFit *int64 `json:"max_tokens_that_fit"`
}

type explainService struct {
	aigatewayv1.UnimplementedExplainServiceServer
	explainer Explainer
}

func (s *explainService) Explain(ctx context.Context, req *aigatewayv1.ExplainRequest) (*aigatewayv1.ExplainResponse, error) {
	if s.explainer == nil {
		return nil, apierror.RouteUnknown("rpc", "Explain")
	}
	key := caller(ctx)
	q := ExplainQuery{Endpoint: req.GetEndpoint(), Model: req.GetModel(), Tag: key.DefaultTag, Body: []byte(req.GetBody())}
	if req.GetTag() != "" {
		tag, err := budget.ParseTag(req.GetTag())
		if err != nil {
			return nil, err
		}
		q.Tag = tag
	}
	if q.Tag == "" {
		q.Tag = budget.Untagged
	}
	if !key.MayUseTag(q.Tag) {
		return nil, &budget.Error{
			Kind: budget.KindPermission, Reason: "tag_not_allowed", Field: "tag",
			Message: "this key may not use that tag; send one of its allowed tags",
		}
	}
	x, err := s.explainer.Explain(ctx, key, q)
	if err != nil {
		return nil, err
	}
	return explanationProto(x), nil
}

func explanationProto(x *Explanation) *aigatewayv1.ExplainResponse {
	out := &aigatewayv1.ExplainResponse{
		Model: x.Model, UpstreamModel: x.UpstreamModel, Endpoint: x.Endpoint, Stream: x.Stream, BoundUsd: x.BoundUSD,
		InjectedMaxTokens: x.InjectedMaxTokens, CatalogVersion: x.CatalogVersion, PricesCheckedAt: x.PricesCheckedAt,
	}
	for _, l := range x.Lines {
		out.Lines = append(out.Lines, &aigatewayv1.ExplanationLine{
			Label: l.Label, Quantity: l.Quantity, Unit: l.Unit, PicoUsdPerUnit: l.PicoPerUnit, AmountUsd: l.AmountUSD, Note: l.Note,
		})
	}
	if r := x.Room; r != nil {
		out.Room = &aigatewayv1.ExplanationRoom{Budget: r.Budget, RoomUsd: r.RoomUSD, Fits: r.Fits, MaxTokensThatFit: r.MaxTokensThatFit}
	}
	if l := x.Learned; l != nil {
		out.Learned = &aigatewayv1.ExplanationLearned{
			Tag: l.Tag, Calls: l.Calls, BoundUsd: l.BoundUSD, CostUsd: l.CostUSD, BoundOverCost: l.BoundOverCost, LikelyUsd: l.LikelyUSD,
		}
	}
	return out
}
