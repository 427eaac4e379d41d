package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"
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
	Warning string `json:"warning,omitempty"`
}

func readinessOf(conditions []Condition) readiness {
	r := readiness{Ready: true, Conditions: []readyPart{}}
	for _, c := range conditions {
		part := readyPart{Name: c.Name, Ready: c.Err == nil}
		if c.Err != nil {
			part.Message, r.Ready = c.Err.Error(), false
		}
		if c.Warning != nil {
			part.Warning = c.Warning.Error()
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

// healthService answers gRPC health checks from the same conditions.
type healthService struct {
	healthpb.UnimplementedHealthServer
	ready    func() []Condition
	watching turns
}

// watchEvery is how soon a watcher learns of a change.
const watchEvery = time.Second

func (h *healthService) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !knownService(req) {
		return nil, status.Error(codes.NotFound, "no such service")
	}
	return &healthpb.HealthCheckResponse{Status: h.state()}, nil
}

// Watch tells the state now and whenever it changes, until the client leaves or
// the server stops. Of an unknown service it says so, as its protocol wants. It needs
// no key, so few may watch at once; whoever is refused can still check.
func (h *healthService) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	leave, err := h.watching.enter("", mostWatchers)
	if err != nil {
		return status.Errorf(codes.ResourceExhausted, "%d watch already, which is the most at once; call Check instead", mostWatchers)
	}
	defer leave()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := healthpb.HealthCheckResponse_UNKNOWN; ; {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if knownService(req) {
			now = h.state()
		}
		if now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err // a status of gRPC's own
			}
			last = now
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-tick.C:
		}
	}
}

func knownService(req *healthpb.HealthCheckRequest) bool {
	return req.GetService() == "" || slices.Contains(serviceNames(), req.GetService())
}

func (h *healthService) state() healthpb.HealthCheckResponse_ServingStatus {
	if !readinessOf(h.ready()).Ready {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}
