package main

import (
	"fmt"
	"net"
)

// filter is one more filter of a plain Envoy, with the cluster that it asks.
// The zero filter is none.
type filter struct{ filter, cluster string }

// authzFilter asks the ext_authz service; empty: none.
func authzFilter(service string) filter {
	if service == "" {
		return filter{}
	}
	return filter{`
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              status_on_error: {code: ServiceUnavailable}
              grpc_service: {envoy_grpc: {cluster_name: service}, timeout: 1s}
              with_request_body: {max_request_bytes: 8388608, pack_as_bytes: true}`, grpcCluster(service)}
}

func grpcCluster(address string) string {
	return fmt.Sprintf(`
  - name: service
    type: STATIC
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}
    load_assignment: {cluster_name: service, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}`, socket(address))
}

// plainBootstrap is an Envoy that sends every call to the backend, with one more
// filter before that. Its listener, timeouts and buffer limits are those of the
// gateway's.
func plainBootstrap(address string, f filter, backend string) string {
	return fmt.Sprintf(`static_resources:
  listeners:
  - name: clients
    address: %s
    per_connection_buffer_limit_bytes: 32768
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          use_remote_address: true
          stream_idle_timeout: 600s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route:
                  cluster: backend
                  timeout: 0s
                  idle_timeout: 600s
                  rate_limits: [{actions: [{request_headers: {header_name: x-aig-tag, descriptor_key: tag}}]}]
          http_filters:%s
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: backend
    type: STATIC
    load_assignment: {cluster_name: backend, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}%s
`, socket(address), f.filter, socket(backend), f.cluster)
}

func socket(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil { // addresses come from our own listeners
		return "{}"
	}
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", host, port)
}

func gatewayConfig(clients, rest, grpc, dataDir, envoyPath, backend, store string) string {
	return fmt.Sprintf(`listen: {clients: %q, rest: %q, grpc: %q}
data_dir: %q
admin_key: %s
%senvoy: {path: %q, concurrency: 1}
providers:
  bench: {preset: openai_compatible, base_url: "http://%s/v1"}
models:
- model: bench/m1
  limits: {context: 4000000, max_output: 64000}
  prices:
  - {from: 2026-01-01, source: bench, checked_at: 2026-01-01, input: "2.5", output: "10"}
`, clients, rest, grpc, dataDir, adminKey, store, envoyPath, backend)
}
