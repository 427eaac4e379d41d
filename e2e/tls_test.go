package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair renames a certificate into place that ends after until, and its key or,
// where wrong, another's. The key goes first: Envoy looks when the certificate
// comes.
func (a authority) pair(t *testing.T, dir string, until time.Duration, wrong bool) *x509.Certificate {
	t.Helper()
	cert, key := a.leaf(t, until)
	if wrong {
		_, key = a.leaf(t, until)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{"tls.key", "EC PRIVATE KEY", der}, {"tls.crt", "CERTIFICATE", cert.Raw}} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

// secureGateway serves everybody with certificates of an authority of its own.
func secureGateway(t *testing.T) (g *gateway, a authority, trust *tls.Config, first *x509.Certificate) {
	t.Helper()
	g, a = newGateway(t), newAuthority(t)
	first = a.pair(t, g.dir, time.Hour, false)
	if err := os.WriteFile(filepath.Join(g.dir, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	g.settings["Listen"] = ", tls: {cert_file: tls.crt, key_file: tls.key}, admin_tls: {cert_file: tls.crt, key_file: tls.key, ca_file: ca.crt}"
	g.writeConfig()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	trust = &tls.Config{RootCAs: pool}
	g.client = &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DisableCompression: true}}
	t.Cleanup(g.client.CloseIdleConnections)
	g.url, g.rest = strings.Replace(g.url, "http:", "https:", 1), strings.Replace(g.rest, "http:", "https:", 1)
	return g, a, trust, first
}

// shown is the serial number of the certificate that an address shows.
func shown(t testing.TB, url string, config *tls.Config) (serial string, state tls.ConnectionState) {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), c.ConnectionState()
}

// TestTLS: clients, REST and gRPC are served with the certificate of the files;
// nobody in clear or with TLS 1.1; HTTP/2 and HTTP/1.1 both. Renewed files serve
// new connections while a call runs on; a pair that does not match leaves the one
// before in force, and an expired one is told.
func TestTLS(t *testing.T) {
	t.Parallel()
	g, a, trust, first := secureGateway(t)
	g.startRun()
	g.wantHandshakes(trust, first)
	if r := g.chat("fake/m1", "tls", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("a call: %d %s", r.status, r.body)
	}
	command := startProcess(t, g.dir, "usage", nil, binary, "usage", "--config", g.config, "--api-key-file", g.keyFile())
	command.wanted.Store(true)
	if <-command.done; command.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the command: %s", command.output())
	}

	end := g.running("fake", "rotation", "a call that is running")
	renewed := a.pair(t, g.dir, time.Hour, false)
	for _, url := range []string{g.url, g.rest} {
		eventually(t, time.Minute, url+" shows the renewed certificate", func() bool {
			serial, _ := shown(t, url, trust)
			return serial == renewed.SerialNumber.String()
		})
	}
	if r := end(); r.status != http.StatusOK {
		t.Errorf("the call that ran while the certificate was renewed: %d %s", r.status, r.body)
	}

	a.pair(t, g.dir, time.Hour, true)
	eventually(t, time.Minute, "the wrong pair is told", func() bool {
		return strings.Contains(g.told(), "private key does not match public key")
	})
	for _, url := range []string{g.url, g.rest} {
		if serial, _ := shown(t, url, trust); serial != renewed.SerialNumber.String() {
			t.Errorf("%s: the certificate of before is not in force", url)
		}
	}

	a.pair(t, g.dir, -time.Hour, false)
	g.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is expired, which is the point
	eventually(t, time.Minute, "the expired certificate is told", func() bool {
		return strings.Contains(g.told(), "clients refuse it; renew it")
	})
}

// wantHandshakes checks the versions and protocols of a gateway with that
// certificate.
func (g *gateway) wantHandshakes(trust *tls.Config, cert *x509.Certificate) {
	t := g.t
	t.Helper()
	for _, protocol := range []string{"h2", "http/1.1"} {
		config := trust.Clone()
		config.NextProtos = []string{protocol}
		serial, state := shown(t, g.url, config)
		if serial != cert.SerialNumber.String() || state.NegotiatedProtocol != protocol || state.Version != tls.VersionTLS13 {
			t.Errorf("%s: certificate %s, protocol %q, version %x", protocol, serial, state.NegotiatedProtocol, state.Version)
		}
	}
	old := trust.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, url := range []string{g.url, g.rest} {
		if c, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), old); err == nil {
			c.Close()
			t.Errorf("%s speaks TLS 1.1", url)
		}
		if resp, err := http.Get(strings.Replace(url, "https:", "http:", 1) + "/v1/models"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("%s answers in clear", url)
			}
		}
	}
}

// told is what readiness says, which stays 200: a certificate that clients may
// not like is no reason to serve none.
func (g *gateway) told() string {
	g.t.Helper()
	r := g.try(http.MethodGet, g.rest+"/readyz?verbose", "", nil)
	if r.err == nil && r.status != http.StatusOK {
		g.t.Errorf("readyz: %d %s", r.status, r.body)
	}
	return string(r.body)
}

// keyFile is a file with the admin key.
func (g *gateway) keyFile() string {
	g.t.Helper()
	path := filepath.Join(g.dir, "key")
	if err := os.WriteFile(path, []byte(adminKey), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// TestTLSNeedsARightPair: a gateway does not start with files that cannot serve,
// and says which.
func TestTLSNeedsARightPair(t *testing.T) {
	t.Parallel()
	g, a, _, _ := secureGateway(t)
	a.pair(t, g.dir, time.Hour, true)
	p := startProcess(t, g.dir, "run", nil, binary, "run", "--config", g.config)
	p.wanted.Store(true)
	<-p.done
	if out := p.output(); p.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(out, "listen.tls: the pair of") || !strings.Contains(out, "does not match") {
		t.Errorf("exit code %d: %s", p.cmd.ProcessState.ExitCode(), out)
	}
}
