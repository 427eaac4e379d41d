package adminapi

import (
	"context"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// ReservationReader lists open reservations, oldest first, at most limit.
type ReservationReader interface {
	OpenReservations(limit int) []budget.Open
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
