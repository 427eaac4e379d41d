package adminapi

import (
	"context"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

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

type reservationService struct {
	aigatewayv1.UnimplementedReservationServiceServer
	reservations ReservationReader
}

func (s *reservationService) ListReservations(_ context.Context, req *aigatewayv1.ListReservationsRequest) (*aigatewayv1.ListReservationsResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListReservationsResponse{}
	for _, o := range s.reservations.OpenReservations(size) {
		resp.Reservations = append(resp.Reservations, reservationProto(o))
	}
	return resp, nil
}
