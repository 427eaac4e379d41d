package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// readiness is the body of /readyz. It is for operators, on an address of
// theirs, and names the cause.
type readiness struct {
	Ready      bool        `json:"ready"`
	Conditions []readyPart `json:"conditions"`
}

type readyPart struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Message string `json:"message,omitempty"`
}

func readinessOf(conditions []Condition) readiness {
	r := readiness{Ready: true, Conditions: []readyPart{}}
	for _, c := range conditions {
		part := readyPart{Name: c.Name, Ready: c.Err == nil}
		if c.Err != nil {
			part.Message, r.Ready = c.Err.Error(), false
		}
		r.Conditions = append(r.Conditions, part)
	}
	return r
}

func serveReady(ready func() []Condition) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		r := readinessOf(ready())
		code := http.StatusOK
		if !r.Ready {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, r)
	}
}

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that went away gets no second try
}

// healthService answers gRPC health checks from the same conditions. Watch
// stays unimplemented, which clients take as healthy.
type healthService struct {
	healthpb.UnimplementedHealthServer
	ready func() []Condition
}

func (h *healthService) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if req.GetService() != "" && !slices.Contains(serviceNames(), req.GetService()) {
		return nil, status.Error(codes.NotFound, "no such service")
	}
	state := healthpb.HealthCheckResponse_SERVING
	if !readinessOf(h.ready()).Ready {
		state = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: state}, nil
}
