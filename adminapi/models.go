package adminapi

import (
	"context"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
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
			resp.Data = append(resp.Data, &aigatewayv1.Model{Id: m.Slug, Object: "model", OwnedBy: m.Provider, PricesCheckedAt: day(m.CheckedAt)})
		}
	}
	return resp, nil
}

// day is empty for a time nobody knows.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}
