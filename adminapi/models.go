package adminapi

import (
	"context"
	"fmt"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// Catalog is the price list in force.
type Catalog struct {
	Version   string    // hash of its content
	CheckedAt time.Time // day its newest price was checked; zero: unknown
	Models    []Model   // in the order to list them
}

// Model is a model that calls can name.
type Model struct {
	Slug      string // provider/model
	Provider  string
	CheckedAt time.Time // day its prices were checked; zero: unknown
}

type modelService struct {
	aigatewayv1.UnimplementedModelServiceServer
	catalog func() Catalog
	now     func() time.Time
}

func (s *modelService) ListModels(ctx context.Context, _ *aigatewayv1.ListModelsRequest) (*aigatewayv1.ListModelsResponse, error) {
	key := caller(ctx)
	catalog := s.catalog()
	resp := &aigatewayv1.ListModelsResponse{Object: "list", CatalogVersion: catalog.Version}
	if !catalog.CheckedAt.IsZero() {
		resp.CatalogAgeDays = max(0, int64(s.now().Sub(catalog.CheckedAt)/(24*time.Hour)))
	}
	for _, m := range catalog.Models {
		if key.MayUseModel(m.Slug) {
			resp.Data = append(resp.Data, m.message())
		}
	}
	return resp, nil
}

// GetModel knows only what ListModels lists: a model that a key may not call is
// not there for it.
func (s *modelService) GetModel(ctx context.Context, req *aigatewayv1.GetModelRequest) (*aigatewayv1.Model, error) {
	key := caller(ctx)
	for _, m := range s.catalog().Models {
		if m.Slug == req.GetModel() && key.MayUseModel(m.Slug) {
			return m.message(), nil
		}
	}
	return nil, &budget.Error{
		Kind: budget.KindModelNotFound, Reason: "model_unknown", Field: "model",
		Message: fmt.Sprintf("there is no model %q for this key; GET /v1/models lists those there are", clip(req.GetModel())),
	}
}

func (m *Model) message() *aigatewayv1.Model {
	return &aigatewayv1.Model{Id: m.Slug, Object: "model", OwnedBy: m.Provider, PricesCheckedAt: day(m.CheckedAt)}
}

// day is empty for a time nobody knows.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}
