package gatewayconfig

import (
	"maps"
	"reflect"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// FileType is the shape of the file, for the test that compares the schema.
func FileType() reflect.Type { return reflect.TypeFor[file]() }

// FieldNames lists the YAML keys of a struct.
func FieldNames(t reflect.Type) []string { return fieldNames(t) }

// Parse reads a file's text.
func Parse(path string, data []byte, getenv func(string) string) (*Config, error) {
	return parse(path, data, newSecretSource(getenv))
}

// PresetNames lists the presets.
func PresetNames() ([]string, error) {
	presets, err := loadPresets()
	return presetNames(presets), err
}

// Resources lists a snapshot's resources of a type.
func (s *Snapshot) Resources(typeURL resource.Type) map[string]types.Resource {
	return s.cache.GetResources(typeURL)
}

// Files lists what the Watcher watches besides the file.
func (c *Config) Files() []string {
	files := slices.Sorted(maps.Keys(c.sources))
	return slices.DeleteFunc(files, func(file string) bool { return file == c.Path })
}

// WithRoute is the snapshot with one more route, unchecked, so that a test can
// send Envoy what it must reject.
func (s *Snapshot) WithRoute(r *routev3.Route) (*Snapshot, error) {
	bad := s.resources
	bad.routes = &routev3.RouteConfiguration{Name: s.resources.routes.GetName(), VirtualHosts: []*routev3.VirtualHost{{
		Name: "bad", Domains: []string{"*"}, Routes: append([]*routev3.Route{r}, s.resources.routes.GetVirtualHosts()[0].GetRoutes()...),
	}}}
	return newSnapshot(bad, s.secrets)
}

// ClusterName is the name of a provider's cluster.
func ClusterName(p *Provider) string { return clusterName(p, p.Auth) }

// WithCluster is the snapshot with one more cluster, unchecked.
func (s *Snapshot) WithCluster(c *clusterv3.Cluster) (*Snapshot, error) {
	bad := s.resources
	bad.clusters = maps.Clone(bad.clusters)
	bad.clusters[c.GetName()] = c
	return newSnapshot(bad, s.secrets)
}

// Held is how much a Server keeps of the Envoys that are connected.
func (s *Server) Held() int {
	s.acks.mu.Lock()
	defer s.acks.mu.Unlock()
	n := len(s.acks.streams)
	for _, state := range s.acks.streams {
		n += len(state.accepted) + len(state.pending)
	}
	if info := s.cache.GetStatusInfo(nodeKey); info != nil {
		n += info.GetNumDeltaWatches() + info.GetNumWatches()
	}
	return n
}

// Beta is a row of betas.yaml.
type Beta = beta

// Betas reads the embedded list.
func Betas() ([]Beta, error) { return loadBetas() }
