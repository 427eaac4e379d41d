package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Admin talks to Envoy's admin interface at "host:port" or "unix:/path". It is
// safe for concurrent use and keeps no connection open.
type Admin struct {
	client *http.Client
	base   string
}

// NewAdmin makes no connection yet.
func NewAdmin(address string) *Admin {
	t := &http.Transport{DisableKeepAlives: true}
	base := "http://" + address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		base = "http://envoy-admin"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	return &Admin{client: &http.Client{Transport: t}, base: base}
}

// Get reads a path of the admin interface, such as "/stats".
func (a *Admin) Get(ctx context.Context, path string) ([]byte, error) {
	return a.do(ctx, http.MethodGet, path)
}

// Post makes Envoy do something, such as "/reopen_logs".
func (a *Admin) Post(ctx context.Context, path string) error {
	_, err := a.do(ctx, http.MethodPost, path)
	return err
}

func (a *Admin) do(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return body, fmt.Errorf("envoy admin %s: status %d: %.200s", path, resp.StatusCode, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// Ready is nil once Envoy is live: it has its routes and listens for clients.
func (a *Admin) Ready(ctx context.Context) error {
	_, err := a.Get(ctx, "/ready")
	return err
}

// ActiveRequests is how many client requests are in progress.
func (a *Admin) ActiveRequests(ctx context.Context) (int, error) {
	name := "http." + statPrefix + ".downstream_rq_active"
	body, err := a.Get(ctx, "/stats?format=json&filter=^"+name+"$")
	if err != nil {
		return 0, err
	}
	var stats struct {
		Stats []struct {
			Name  string
			Value int
		}
	}
	if err := json.Unmarshal(body, &stats); err != nil {
		return 0, fmt.Errorf("envoy admin /stats: %w", err)
	}
	for _, s := range stats.Stats {
		if s.Name == name {
			return s.Value, nil
		}
	}
	return 0, fmt.Errorf("envoy admin /stats: no %s", name)
}

// Drain makes Envoy take no new connections and ask clients to close theirs, and
// returns when no request is running, at the latest when ctx ends, with ctx's
// error. active is how many run then.
func (a *Admin) Drain(ctx context.Context) (active int, err error) {
	// Failing health checks makes Envoy close kept-alive connections after
	// their current request; the listener alone would leave them open.
	err = errors.Join(a.Post(ctx, "/healthcheck/fail"), a.Post(ctx, "/drain_listeners"))
	for err == nil {
		var running int
		running, err = a.ActiveRequests(ctx)
		if err != nil {
			break // active keeps the last number known
		}
		active = running
		if active == 0 {
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(pollEvery):
		}
	}
	return active, err
}

// ClientsAddress is where the client listener is bound, for a configured port 0.
func (a *Admin) ClientsAddress(ctx context.Context) (string, error) {
	body, err := a.Get(ctx, "/listeners?format=json")
	if err != nil {
		return "", err
	}
	var list struct {
		Status []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("envoy admin /listeners: %w", err)
	}
	for _, l := range list.Status {
		if l.Name == listenerClients && l.Address.Socket.Port != 0 {
			return net.JoinHostPort(l.Address.Socket.Address, fmt.Sprint(l.Address.Socket.Port)), nil
		}
	}
	return "", fmt.Errorf("envoy admin /listeners: %s is not bound", listenerClients)
}
