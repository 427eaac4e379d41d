package fakeprovider

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// serveControl answers the endpoints for whoever runs the provider in another
// process: GET bill, users and calls; PUT faults (words in the body, empty for
// none); POST reset.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	var answer any = struct{}{}
	switch r.Method + " " + r.URL.Path {
	case "GET /_fake/bill":
		answer = s.Bill()
	case "GET /_fake/users":
		answer = s.BillByUser()
	case "GET /_fake/calls":
		answer = s.Calls()
	case "PUT /_fake/faults":
		if err := s.readFaults(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	case "POST /_fake/reset":
		s.Reset()
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // fails only when the caller left
}

func (s *Server) readFaults(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	f, err := ParseFaults(string(text))
	if err != nil {
		return err
	}
	s.SetFaults(f)
	return nil
}
