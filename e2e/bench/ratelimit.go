package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"aigateway/e2e/loopback"
)

// What the chain with Envoy's rate limit service needs in PATH. It is left out
// where that is not installed.
const (
	ratelimitProgram = "ratelimit" // github.com/envoyproxy/ratelimit/src/service_cmd
	redisProgram     = "redis-server"
)

func hasRatelimit() bool {
	for _, name := range []string{ratelimitProgram, redisProgram} {
		if _, err := exec.LookPath(name); err != nil {
			return false
		}
	}
	return true
}

// ratelimitStarter counts requests by tag in Redis before each call: what is
// usually put there for a limit, though it knows no costs and holds nothing.
func (l *lab) ratelimitStarter(c *chain) func(context.Context) error {
	return func(ctx context.Context) error {
		redis := filepath.Join(l.dir, "redis.sock")
		var ports [3]string
		for i := range ports {
			address, err := loopback.FreeAddress()
			if err != nil {
				return err
			}
			if _, ports[i], err = net.SplitHostPort(address); err != nil {
				return fmt.Errorf("read an address: %w", err)
			}
		}
		limits := filepath.Join(l.dir, "ratelimit", "config")
		if err := os.MkdirAll(limits, 0o700); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		text := "domain: bench\ndescriptors:\n- key: tag\n  rate_limit: {unit: hour, requests_per_unit: 1000000000}\n"
		if err := os.WriteFile(filepath.Join(limits, "bench.yaml"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write limits: %w", err)
		}
		if err := l.serve(ctx, c, redisProgram, "--port", "0", "--unixsocket", redis, "--save", "", "--loglevel", "warning"); err != nil {
			return err
		}
		if err := loopback.Poll(ctx, func() bool { _, err := os.Stat(redis); return err == nil }); err != nil {
			return fmt.Errorf("wait for Redis: %w", err)
		}
		if err := l.serve(ctx, c, "env", "RUNTIME_ROOT="+l.dir, "RUNTIME_SUBDIRECTORY=ratelimit", "RUNTIME_WATCH_ROOT=false",
			"DISABLE_STATS=true", "LOG_LEVEL=error", "REDIS_SOCKET_TYPE=unix", "REDIS_URL="+redis,
			"HOST=127.0.0.1", "GRPC_HOST=127.0.0.1", "DEBUG_HOST=127.0.0.1",
			"PORT="+ports[0], "GRPC_PORT="+ports[1], "DEBUG_PORT="+ports[2], ratelimitProgram); err != nil {
			return err
		}
		return l.startPlain(ctx, c, ratelimitFilter(net.JoinHostPort("127.0.0.1", ports[1])))
	}
}

func ratelimitFilter(service string) filter {
	return filter{strings.TrimRight(`
          - name: envoy.filters.http.ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
              domain: bench
              failure_mode_deny: true
              status_on_error: {code: ServiceUnavailable}
              timeout: 1s
              rate_limit_service: {transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: service}}}
`, "\n"), grpcCluster(service)}
}
