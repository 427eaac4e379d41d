package gatewayconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Snapshot is everything one configuration means to Envoy: clusters, routes
// and secrets that belong together. It is immutable.
type Snapshot struct {
	version   string
	resources resources
	cache     *cache.Snapshot
	secrets   []string // texts that must not reach a log
}

// Version identifies the content: equal snapshots have equal versions.
func (s *Snapshot) Version() string { return s.version }

// Render makes the snapshot of a configuration. rest is the address of the
// REST gateway as Envoy reaches it, "host:port" or "unix:/path". It is pure,
// and deterministic: the same input gives the same version.
func Render(c *Config, rest string) (*Snapshot, error) {
	door, err := restCluster(c, rest)
	if err != nil {
		return nil, err
	}
	r := resources{clusters: map[string]*clusterv3.Cluster{}, secrets: map[string]*tlsv3.Secret{}}
	r.clusters[door.cluster.GetName()] = door.cluster
	for _, secret := range door.secrets {
		r.secrets[secret.GetName()] = secret
	}
	var texts []string
	for i := range c.Providers {
		for _, a := range auths(&c.Providers[i]) {
			u, err := newUpstream(c, &c.Providers[i], a)
			if err != nil {
				return nil, fmt.Errorf("render provider %s: %w", c.Providers[i].Name, err)
			}
			r.clusters[u.cluster.GetName()] = u.cluster
			for _, secret := range u.secrets {
				r.secrets[secret.GetName()] = secret
			}
			texts = append(texts, u.texts...)
		}
	}
	services, err := tokenServices(c)
	if err != nil {
		return nil, err
	}
	for _, u := range services {
		r.clusters[u.cluster.GetName()] = u.cluster
		for _, secret := range u.secrets {
			r.secrets[secret.GetName()] = secret
		}
	}
	r.routes, err = routes(c)
	if err != nil {
		return nil, fmt.Errorf("render routes: %w", err)
	}
	return newSnapshot(r, texts)
}

// resources are a snapshot's parts before they are frozen.
type resources struct {
	clusters map[string]*clusterv3.Cluster
	secrets  map[string]*tlsv3.Secret
	routes   *routev3.RouteConfiguration
}

func (r resources) lists() map[resource.Type][]types.Resource {
	lists := map[resource.Type][]types.Resource{resource.ClusterType: {}, resource.SecretType: {}, resource.RouteType: {r.routes}}
	for _, name := range slices.Sorted(maps.Keys(r.clusters)) {
		lists[resource.ClusterType] = append(lists[resource.ClusterType], r.clusters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.secrets)) {
		lists[resource.SecretType] = append(lists[resource.SecretType], r.secrets[name])
	}
	return lists
}

// resourceTypes are the types we serve, in the order Envoy needs them.
func resourceTypes() []resource.Type {
	return []resource.Type{resource.ClusterType, resource.SecretType, resource.RouteType}
}

// newSnapshot checks the resources with Envoy's own field rules and freezes
// them. Each type's version is the hash of its content, so a type that did not
// change is not sent again.
func newSnapshot(r resources, texts []string) (*Snapshot, error) {
	whole := sha256.New()
	frozen := &cache.Snapshot{}
	lists := r.lists()
	for _, typeURL := range resourceTypes() {
		part := sha256.New()
		for _, item := range lists[typeURL] {
			if v, ok := item.(interface{ ValidateAll() error }); ok {
				if err := v.ValidateAll(); err != nil {
					return nil, fmt.Errorf("check %s: %w", cache.GetResourceName(item), redacted(err, texts))
				}
			}
			data, err := cache.MarshalResource(item)
			if err != nil {
				return nil, fmt.Errorf("marshal %s: %w", cache.GetResourceName(item), err)
			}
			fmt.Fprintf(part, "%d ", len(data))
			part.Write(data)
		}
		sum := part.Sum(nil)
		frozen.Resources[cache.GetResponseType(typeURL)] = cache.NewResources(shortHash(sum), lists[typeURL])
		whole.Write(sum)
	}
	if err := frozen.ConstructVersionMap(); err != nil {
		return nil, fmt.Errorf("hash resources: %w", err)
	}
	return &Snapshot{version: shortHash(whole.Sum(nil)), resources: r, cache: frozen, secrets: texts}, nil
}

func shortHash(sum []byte) string { return hex.EncodeToString(sum[:8]) }

// union is what serves while a change rolls out: the clusters and secrets of
// both, the new ones where both have a name, and the given routes.
func union(older, newer *Snapshot, routes *routev3.RouteConfiguration) (*Snapshot, error) {
	r := resources{clusters: maps.Clone(older.resources.clusters), secrets: maps.Clone(older.resources.secrets), routes: routes}
	maps.Copy(r.clusters, newer.resources.clusters)
	maps.Copy(r.secrets, newer.resources.secrets)
	return newSnapshot(r, slices.Concat(older.secrets, newer.secrets))
}

// minRedacted is the shortest text taken for a secret in a message: shorter ones
// are parts of ordinary words.
const minRedacted = 6

// redact replaces every secret in a text that came from Envoy, which may print
// the configuration it refuses.
func redact(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) >= minRedacted {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text
}

func redacted(err error, secrets []string) error {
	return fmt.Errorf("%s", redact(err.Error(), secrets))
}

// pack wraps a message deterministically; anypb.New orders map entries at
// random, which would look like a change.
func pack(m proto.Message) (*anypb.Any, error) {
	out := &anypb.Any{}
	if err := anypb.MarshalFrom(out, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("marshal %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return out, nil
}

// viaADS says that a resource comes over the one ADS stream.
func viaADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}
