package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{}
	a.cert, a.key = authority{}.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

func (a authority) sign(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-2*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a authority) leaf(t *testing.T, until time.Duration) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	return a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "leaf"}, KeyUsage: x509.KeyUsageDigitalSignature, NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
}

// write renames the authority and two certificates of its own into place.
func (a authority) write(t *testing.T, dir string) {
	t.Helper()
	put := func(name, kind string, der []byte) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("ca.pem", "CERTIFICATE", a.cert.Raw)
	for _, name := range []string{"control", "envoy"} {
		cert, key := a.leaf(t, time.Hour)
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		put(name+".key", "EC PRIVATE KEY", der)
		put(name+".pem", "CERTIFICATE", cert.Raw)
	}
}

// speaks tells whether the control listener says anything to a client.
func speaks(t *testing.T, address string, config *tls.Config) bool {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := raw
	if config != nil {
		c = tls.Client(raw, config)
	}
	if _, err := c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return false
	}
	got := make([]byte, 9)
	n, _ := c.Read(got)
	return n == 9 && got[3] == 4 // SETTINGS
}

func client(cert *x509.Certificate, key *ecdsa.PrivateKey) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}} // what it shows is the point
	if cert != nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return c
}

// TestControlNeedsCertificates: on TCP with certificates Envoy is served, and
// nobody else; renewed files, of another authority even, need no restart of Envoy.
func TestControlNeedsCertificates(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	ours, others := newAuthority(t), newAuthority(t)
	ours.write(t, g.dir)
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	g.settings["Listen"] = `, control: "` + address + `", control_tls: {ca_file: ca.pem, cert_file: control.pem, key_file: control.key, envoy_cert_file: envoy.pem, envoy_key_file: envoy.key}`
	g.writeConfig()
	g.startBoth()
	if r := g.chat("fake/m1", "tls", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("a call: %d %s", r.status, r.body)
	}
	ourCert, ourKey := ours.leaf(t, time.Hour)
	if !speaks(t, address, client(ourCert, ourKey)) {
		t.Error("a right certificate is refused")
	}
	strange, strangeKey := others.leaf(t, time.Hour)
	old, oldKey := ours.leaf(t, -time.Hour)
	for name, config := range map[string]*tls.Config{
		"in clear": nil, "no certificate": client(nil, nil), "a stranger's": client(strange, strangeKey), "an expired one": client(old, oldKey),
	} {
		if speaks(t, address, config) {
			t.Errorf("%s: the control listener speaks", name)
		}
	}

	others.write(t, g.dir)
	if speaks(t, address, client(ourCert, ourKey)) || !speaks(t, address, client(strange, strangeKey)) {
		t.Error("renewed files are not in force")
	}
	g.program.wanted.Store(true)
	g.program.signal(syscall.SIGKILL)
	<-g.program.done
	g.startServe()
	eventually(t, time.Minute, "Envoy comes back with its new certificate", func() bool {
		return g.chat("fake/m1", "tls", "hello", `,"max_tokens":9`).status == http.StatusOK
	})
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}

// TestControlSocketIsPrivate: whatever the umask.
func TestControlSocketIsPrivate(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]os.FileMode{"": 0o600, fmt.Sprintf(", control_group: '%d'", os.Getgid()): 0o660} {
		g := newGateway(t)
		g.settings["Listen"] = group
		g.writeConfig()
		g.program = startProcess(t, g.dir, "serve", nil, "/bin/sh", "-c", `umask 0; exec "$0" serve --config "$1"`, binary, g.config)
		g.waitStatus(g.rest+"/readyz", http.StatusOK)
		info, err := os.Stat(filepath.Join(g.dir, "data", "control.sock"))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("with %q: %v %v, want %v", group, info.Mode(), err, want)
		}
	}
}
