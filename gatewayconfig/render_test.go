package gatewayconfig_test

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
)

func TestRenderIsDeterministic(t *testing.T) {
	text := "providers: {openai: {headers: {x-b: '${B}', x-a: a}}, groq: {}, vllm: {}}"
	pairs := []string{"OPENAI_API_KEY", "o", "GROQ_API_KEY", "g", "B", "b"}
	first := snapshot(t, "127.0.0.1:1", text, pairs...)
	for range 20 {
		if again := snapshot(t, "127.0.0.1:1", text, pairs...); again.Version() != first.Version() {
			t.Fatalf("versions %s and %s for the same file", first.Version(), again.Version())
		}
	}
	for _, other := range []*gatewayconfig.Snapshot{
		snapshot(t, "127.0.0.1:2", text, pairs...),
		snapshot(t, "127.0.0.1:1", text, "OPENAI_API_KEY", "other", "GROQ_API_KEY", "g", "B", "b"),
		snapshot(t, "127.0.0.1:1", "streams: {idle_timeout: 1m}\n"+text, pairs...),
	} {
		if other.Version() == first.Version() {
			t.Errorf("a different configuration has the same version")
		}
	}
}

// TestKeysAreOnlyInSecrets looks at everything Envoy may print.
func TestKeysAreOnlyInSecrets(t *testing.T) {
	s := snapshot(t, "127.0.0.1:1", "providers: {openai: {api_key: provider-key, headers: {x-h: '${H}', x-l: literal-value}}}", "H", "hidden-value")
	for _, typeURL := range []string{resource.ClusterType, resource.RouteType} {
		for name, r := range s.Resources(typeURL) {
			data, err := proto.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "provider-key") || strings.Contains(string(data), "hidden-value") || strings.Contains(string(data), "literal-value") {
				t.Errorf("%s holds a secret", name)
			}
		}
	}
	if n := len(s.Resources(resource.SecretType)); n != 4 {
		t.Errorf("%d secrets, want the key, two headers and the CA bundle", n)
	}
}

func TestClusterNameFollowsThePlace(t *testing.T) {
	name := func(text string) string {
		c := mustParse(t, "providers: {p: {preset: openai, "+text+"}}")
		return gatewayconfig.ClusterName(&c.Providers[0])
	}
	base := name("base_url: 'https://a.example/v1', api_key: k")
	for _, same := range []string{"base_url: 'https://a.example/v2', api_key: k", "base_url: 'https://a.example:443/v1', api_key: other", "base_url: 'https://A.example/v1', api_key: k, apis: [chat]"} {
		if got := name(same); got != base {
			t.Errorf("%s moves the cluster from %s to %s", same, base, got)
		}
	}
	for _, other := range []string{"base_url: 'https://b.example/v1', api_key: k", "base_url: 'http://a.example/v1', api_key: k", "base_url: 'https://a.example:444/v1', api_key: k", "base_url: 'https://a.example/v1', api_key: k, auth_header: api-key"} {
		if name(other) == base {
			t.Errorf("%s keeps the cluster", other)
		}
	}
}

// TestRoutesKeepTheirPromises checks what no request can show.
func TestRoutesKeepTheirPromises(t *testing.T) {
	s := snapshot(t, "127.0.0.1:1", "limits: {max_body_bytes: 1MiB}\nproviders: {openai: {api_key: k}, anthropic: {api_key: k}}")
	config, ok := s.Resources(resource.RouteType)[envoy.RouteConfig].(*routev3.RouteConfiguration)
	if !ok {
		t.Fatal("no route configuration")
	}
	byName := map[string]*routev3.Route{}
	for _, r := range config.GetVirtualHosts()[0].GetRoutes() {
		if byName[r.GetName()] != nil {
			t.Errorf("two routes are named %s", r.GetName())
		}
		byName[r.GetName()] = r
	}
	for _, name := range []string{"openai-chat", "openai-embeddings", "anthropic-chat"} {
		a := byName[name].GetRoute()
		if a == nil || a.GetTimeout().AsDuration() != 0 || a.GetIdleTimeout().AsDuration() == 0 || a.GetMaxStreamDuration().GetMaxStreamDuration().AsDuration() == 0 ||
			a.GetRetryPolicy().GetRetryOn() != "connect-failure,refused-stream,reset-before-request" || a.GetHedgePolicy() != nil || len(a.GetRequestMirrorPolicies()) != 0 || a.GetInternalRedirectPolicy() != nil {
			t.Errorf("%s: %v", name, protojson.Format(byName[name]))
		}
	}
	// Envoy would run another one for calls to other paths, too.
	for name, r := range byName {
		if strings.Contains(protojson.Format(r.GetMatch()), "envoy.string_matcher.lua") && name != "key-first" {
			t.Errorf("%s has a matcher that counts", name)
		}
	}
	for name, r := range byName {
		authz := r.GetTypedPerFilterConfig()[envoy.FilterAuthz]
		if authz == nil {
			t.Errorf("%s says nothing about ext_authz", name)
		}
		checked := strings.HasSuffix(authz.GetTypeUrl(), "ExtAuthzPerRoute")
		if checked != (r.GetRequestBodyBufferLimit().GetValue() == 1<<20+envoy.EditRoom) {
			t.Errorf("%s: checked %t, body limit %d", name, checked, r.GetRequestBodyBufferLimit().GetValue())
		}
		// Whatever reaches a provider was checked.
		if cluster := r.GetRoute().GetCluster(); cluster != "" && cluster != envoy.ClusterREST && !checked {
			t.Errorf("%s reaches %s without a check", name, cluster)
		}
	}
}

func TestDNSAndStaticClusters(t *testing.T) {
	s := snapshot(t, "unix:/run/rest.sock", "providers: {openai: {api_key: k}, vllm: {}}")
	for name, r := range s.Resources(resource.ClusterType) {
		c, ok := r.(*clusterv3.Cluster)
		if !ok {
			t.Fatalf("%s is %T", name, r)
		}
		if dns := c.GetClusterType().GetName() == "envoy.cluster.dns"; dns != strings.HasPrefix(name, "provider_openai") {
			t.Errorf("%s: DNS %t", name, dns)
		}
		if tls := c.GetTransportSocket() != nil; tls != strings.HasPrefix(name, "provider_openai") {
			t.Errorf("%s: TLS %t", name, tls)
		}
	}
	if _, err := gatewayconfig.Render(mustParse(t, ""), "nonsense"); err == nil {
		t.Error("an address that is none renders")
	}
}

// Some APIs are beside the path of the others, wherever that is.
func TestAPIsBesideTheOthers(t *testing.T) {
	for base, want := range map[string]string{
		"":                                 "/v1/chat/completions /v1/responses /anthropic/v1/messages",
		", base_url: 'https://h/proxy/v1'": "/proxy/v1/chat/completions /proxy/v1/responses /proxy/anthropic/v1/messages",
		", base_url: 'https://h'":          "/chat/completions /responses /anthropic/v1/messages",
		", endpoints: {messages: {path: /messages}}": "/v1/chat/completions /v1/responses /v1/messages",
	} {
		s := snapshot(t, "127.0.0.1:1", "providers: {moonshot: {api_key: k"+base+"}}")
		config, ok := s.Resources(resource.RouteType)[envoy.RouteConfig].(*routev3.RouteConfiguration)
		if !ok {
			t.Fatal("no route configuration")
		}
		got := map[string]string{}
		for _, r := range config.GetVirtualHosts()[0].GetRoutes() {
			got[r.GetName()] = r.GetRoute().GetPrefixRewrite()
		}
		if got := strings.Join([]string{got["moonshot-chat"], got["moonshot-responses"], got["moonshot-messages"]}, " "); got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
	for _, path := range []string{"/../../v1", "/v1/../x", "/..", "../x"} {
		if _, err := parse(t, "providers: {moonshot: {api_key: k, endpoints: {messages: {path: "+path+"}}}}"); err == nil || !strings.Contains(err.Error(), "endpoints.messages.path") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
