package gatewayconfig_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"aigateway/gatewayconfig"
)

// TestRejectedClusterKeepsTheOldRoutes stops a change at its first step: routes
// to clusters that Envoy refused must not replace those that work.
func TestRejectedClusterKeepsTheOldRoutes(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(old)))
	good := snapshot(t, "127.0.0.1:1", file(next))
	bad, err := good.WithCluster(&clusterv3.Cluster{Name: "bad", TransportSocket: &corev3.TransportSocket{
		Name:       "no.such.socket",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var nack gatewayconfig.Nack
	if err := d.server.Apply(t.Context(), bad); !errors.As(err, &nack) || nack.Type != "cluster" {
		t.Fatalf("the rejection: %v", err)
	}
	for range 20 {
		if code, _, body, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 || !strings.HasPrefix(body, old.host()) {
			t.Fatalf("after the rejection: %d %q %v", code, body, err)
		}
	}
	if err := d.server.Lagging(); err != error(nack) || d.server.Ready() != nil {
		t.Errorf("after the rejection: ready %v, lagging %v", d.server.Ready(), err)
	}
	d.set(t, good)
	if err := d.server.Lagging(); err != nil {
		t.Errorf("mended, but: %v", err)
	}
	poll(t, "the mended change", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasPrefix(body, next.host())
	})
}

// TestEverySnapshotHasItsOwnAnswer follows each rejected configuration at once
// by another, good and bad in turn: an answer is never the one before.
func TestEverySnapshotHasItsOwnAnswer(t *testing.T) {
	up, other := newProvider(t, false), newProvider(t, false)
	file := func(p *provider, i int) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v%d', api_key: k}}", p.URL, i)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(up, 0)))
	for i := 1; i <= 6; i++ {
		place := []*provider{up, other}[i%2] // with new clusters, so in steps
		bad, err := snapshot(t, "127.0.0.1:1", file(place, 100+i)).WithRoute(rejectedRoute())
		if err != nil {
			t.Fatal(err)
		}
		var nack gatewayconfig.Nack
		if err := d.server.Apply(t.Context(), bad); !errors.As(err, &nack) || nack.Type != "route" {
			t.Fatalf("%d: answer to a bad configuration: %v", i, err)
		}
		if err := d.server.Ready(); err != nil {
			t.Errorf("%d: not ready, though the last good configuration serves: %v", i, err)
		}
		d.set(t, snapshot(t, "127.0.0.1:1", file(place, i)))
		if err := d.server.Lagging(); err != nil {
			t.Errorf("%d: accepted, but %v", i, err)
		}
		poll(t, "the mended configuration", func() bool {
			_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
			return body == fmt.Sprintf("%s /v%d/chat/completions", place.host(), i)
		})
	}
}

// TestWaitingEndsWithItsContext: an Envoy that says nothing holds nobody up, and
// what it was sent is in force once it says yes.
func TestWaitingEndsWithItsContext(t *testing.T) {
	server, stream := silentEnvoy(t)
	ctx, stop := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() { answered <- server.Apply(ctx, snapshot(t, "127.0.0.1:1", "providers: {vllm: {api_key: k}}")) }()
	var sent []*discoveryv3.DeltaDiscoveryResponse
	for _, typeURL := range []string{resource.ClusterType, resource.RouteType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "silent"}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, response)
	}
	stop()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("answer %v, want one that says that waiting was ended", err)
	}
	if server.Ready() == nil || server.Lagging() == nil {
		t.Error("nobody accepted anything, and it is ready")
	}
	for _, response := range sent {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce(), ErrorDetail: &status.Status{Message: "no"}}); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "the late rejection", func() bool {
		var nack gatewayconfig.Nack
		return errors.As(server.Lagging(), &nack) && nack.Node == "silent" && nack.Message == "no"
	})
	server.Close()
	if _, err := stream.Recv(); err == nil {
		t.Error("Close left the stream open")
	}
}

// silentEnvoy is a server with one client, which the test speaks for.
func silentEnvoy(t *testing.T) (*gatewayconfig.Server, discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	t.Helper()
	server, client := xdsClients(t)
	stream, err := client.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the connection", func() bool { return !server.Alone() })
	return server, stream
}

// TestReloadUnderARequestBeingDecided moves a provider while a request is
// checked: Envoy sends it by the routes of before, so the old place must still
// be known, however long the request takes.
func TestReloadUnderARequestBeingDecided(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(old)))
	deciding, hold := make(chan struct{}), make(chan struct{})
	decide := sync.OnceFunc(func() { close(hold) })
	defer decide() // the server's end waits for it
	d.mu.Lock()
	d.checked = func() {
		close(deciding)
		<-hold
	}
	d.mu.Unlock()
	type answer struct {
		code int
		body string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		code, _, body, err := d.call("POST", "/v1/chat/completions", "up", "")
		answered <- answer{code, body, err}
	}()
	<-deciding
	d.mu.Lock()
	d.checked = nil
	d.mu.Unlock()

	d.set(t, snapshot(t, "127.0.0.1:1", file(next)))
	poll(t, "the new place", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasPrefix(body, next.host())
	})
	decide()
	if got := <-answered; got.code != 200 || !strings.HasPrefix(got.body, old.host()) {
		t.Errorf("the request under way: %d %q %v, want an answer of the old place", got.code, got.body, got.err)
	}
}

// TestOldClusterGoes sees the last step of a change.
func TestOldClusterGoes(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startLingering(t, snapshot(t, "127.0.0.1:1", file(old)), time.Millisecond)
	d.set(t, snapshot(t, "127.0.0.1:1", file(next)))
	poll(t, "the old cluster's end", func() bool {
		clusters, err := d.admin.Get(t.Context(), "/clusters")
		return err == nil && strings.Contains(string(clusters), next.host()) && !strings.Contains(string(clusters), old.host())
	})
}

// TestRejectedSecretIsRejectedAgain follows a certificate that Envoy refuses by a good
// one, and by itself: each gets its own answer.
func TestRejectedSecretIsRejectedAgain(t *testing.T) {
	up := newProvider(t, true)
	good := up.Certificate().Raw
	bad := []byte{0x30, 0x09, 0x30, 0x00, 0x30, 0x02, 0x06, 0x00, 0x03, 0x01, 0x00}
	path := filepath.Join(t.TempDir(), "ca.pem")
	file := func(certificates ...[]byte) *gatewayconfig.Snapshot {
		var bundle []byte
		for _, der := range certificates {
			bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		if err := os.WriteFile(path, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
		return snapshot(t, "127.0.0.1:1", fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k, tls: {ca_file: %s}}}", up.URL, path))
	}
	d := startDataPlane(t, file(good))
	for i := range 4 {
		var nack gatewayconfig.Nack
		if err := d.server.Apply(t.Context(), file(good, bad)); !errors.As(err, &nack) || nack.Type != "secret" {
			t.Fatalf("the bad certificate, for the %d. time: %v", i+1, err)
		}
		if err := d.server.Ready(); err != nil {
			t.Errorf("not ready, though the last good configuration serves: %v", err)
		}
		d.set(t, file(good))
		if code, _, _, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 {
			t.Fatalf("mended: %d %v", code, err)
		}
	}
}

// TestSecretsAreSentToWhoComesBack: an Envoy that rejected a secret names the version
// of the one before when it connects again, and holds the rejected one.
func TestSecretsAreSentToWhoComesBack(t *testing.T) {
	server, connect := envoysOfTheTest(t)
	if err := server.Apply(t.Context(), snapshot(t, "127.0.0.1:1", "providers: {vllm: {api_key: k}}")); err != nil {
		t.Fatal(err)
	}
	first := connect("a", nil)
	for range 3 {
		first.answer(t, "")
	}
	again, got := connect("a", first.held), map[resource.Type]int{}
	for range 3 {
		sent := again.answer(t, "")
		got[sent.GetTypeUrl()] = len(sent.GetResources())
	}
	if got[resource.ClusterType]+got[resource.RouteType] != 0 || got[resource.SecretType] == 0 {
		t.Errorf("to an Envoy that says it has all, %v were sent, want the secrets alone", got)
	}
}

// TestOneOfTwoRejects: what one Envoy rejects is rejected, also where it was cut for
// what it had rejected before, and the other one has accepted meanwhile.
func TestOneOfTwoRejects(t *testing.T) {
	server, connect := envoysOfTheTest(t)
	file := func(i int) *gatewayconfig.Snapshot {
		return snapshot(t, "127.0.0.1:1", fmt.Sprintf("providers: {vllm: {api_key: k, base_url: 'http://127.0.0.1:1/v%d'}}", i))
	}
	if err := server.Apply(t.Context(), file(0)); err != nil {
		t.Fatal(err)
	}
	good, bad := connect("good", nil), connect("bad", nil)
	for range 3 {
		good.answer(t, "")
		bad.answer(t, "")
	}
	poll(t, "both", func() bool { return server.Lagging() == nil })
	for i := 1; i <= 3; i++ {
		answered := make(chan error, 1)
		go func() { answered <- server.Apply(t.Context(), file(i)) }()
		good.answerRoutes(t, "")
		if i > 1 { // it was cut, and comes back when the other one has answered
			select {
			case err := <-answered:
				t.Fatalf("%d: answered %v before both had", i, err)
			case <-time.After(100 * time.Millisecond):
			}
			bad = connect("bad", bad.held)
		}
		bad.answerRoutes(t, "no")
		var nack gatewayconfig.Nack
		if err := <-answered; !errors.As(err, &nack) || nack.Node != "bad" {
			t.Fatalf("%d: answer %v, want the rejection", i, err)
		}
		if err := server.Ready(); err != nil {
			t.Errorf("%d: both serve the last good configuration, but %v", i, err)
		}
		good.answerRoutes(t, "") // the last good ones again
	}
}

// envoyOfTheTest is an Envoy's side of a stream, which the test speaks for.
type envoyOfTheTest struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	held map[resource.Type]map[string]string // versions it accepted, by name
}

// envoysOfTheTest is a server, and what connects to it: as a node, with what that says
// it holds.
func envoysOfTheTest(t *testing.T) (*gatewayconfig.Server, func(node string, held map[resource.Type]map[string]string) *envoyOfTheTest) {
	t.Helper()
	server, client := xdsClients(t)
	return server, func(node string, held map[resource.Type]map[string]string) *envoyOfTheTest {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(stop)
		stream, err := client.DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		e := &envoyOfTheTest{stream, map[resource.Type]map[string]string{}}
		for _, typeURL := range []string{resource.ClusterType, resource.RouteType, resource.SecretType} {
			e.held[typeURL] = map[string]string{}
			maps.Copy(e.held[typeURL], held[typeURL])
			if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{
				Node: &corev3.Node{Id: node}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: held[typeURL],
			}); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
}

// answer takes what is sent next, or rejects it, and tells its type.
func (e *envoyOfTheTest) answer(t *testing.T, rejection string) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	sent, err := e.Recv()
	if err != nil {
		t.Fatal(err)
	}
	e.reply(t, sent, rejection)
	return sent
}

// answerRoutes takes what is sent up to the next routes, and these or not.
func (e *envoyOfTheTest) answerRoutes(t *testing.T, rejection string) {
	t.Helper()
	for {
		sent, err := e.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if sent.GetTypeUrl() == resource.RouteType {
			e.reply(t, sent, rejection)
			return
		}
		e.reply(t, sent, "")
	}
}

func (e *envoyOfTheTest) reply(t *testing.T, sent *discoveryv3.DeltaDiscoveryResponse, rejection string) {
	t.Helper()
	q := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: sent.GetTypeUrl(), ResponseNonce: sent.GetNonce()}
	if rejection != "" {
		q.ErrorDetail = &status.Status{Message: rejection}
	} else {
		for _, r := range sent.GetResources() {
			e.held[sent.GetTypeUrl()][r.GetName()] = r.GetVersion()
		}
	}
	if err := e.Send(q); err != nil {
		t.Fatal(err)
	}
}
