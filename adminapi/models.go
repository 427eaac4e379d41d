package adminapi

import (
	"context"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

type modelService struct {
	aigatewayv1.UnimplementedModelServiceServer
	models func() []Model
}

func (s *modelService) ListModels(ctx context.Context, _ *aigatewayv1.ListModelsRequest) (*aigatewayv1.ListModelsResponse, error) {
	key := caller(ctx)
	resp := &aigatewayv1.ListModelsResponse{Object: "list"}
	for _, m := range s.models() {
		if key.MayUseModel(m.Slug) {
			resp.Data = append(resp.Data, &aigatewayv1.Model{Id: m.Slug, Object: "model", OwnedBy: m.Provider})
		}
	}
	return resp, nil
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
