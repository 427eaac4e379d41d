package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"aigateway/gatewayconfig"
)

// secured serves l with the certificate of listen.admin_tls, if there is one.
func secured(l net.Listener, files gatewayconfig.ServerTLS, protocol string, log *slog.Logger) net.Listener {
	if !files.Set() {
		return l
	}
	c := &serverCertificate{files: files, log: log}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}, GetCertificate: c.current})
}

// serverCertificate reads its files for every connection: the admin API has few,
// and renewed files are in force at once.
type serverCertificate struct {
	files gatewayconfig.ServerTLS
	log   *slog.Logger

	mu   sync.Mutex // guards last
	last *tls.Certificate
}

// current is the pair in the files, or the last one that was right: they may be
// about to be replaced.
func (c *serverCertificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err == nil {
		c.last = &next
		return c.last, nil
	}
	if c.last == nil {
		return nil, fmt.Errorf("listen.admin_tls: %w", err)
	}
	c.log.Error("listen.admin_tls cannot be read; the certificate of before stays in force", "error", err)
	return c.last, nil
}

// soon is how long before its end a certificate is told of.
const soon = 14 * 24 * time.Hour

// expiry says what is wrong with the certificates in force, or soon will be. The
// gateway serves on: only clients can tell whether they mind.
func expiry(listen gatewayconfig.Listen, now time.Time) error {
	for _, l := range []struct {
		field string
		files gatewayconfig.ServerTLS
	}{{"listen.tls", listen.TLS}, {"listen.admin_tls", listen.AdminTLS}} {
		if !l.files.Set() {
			continue
		}
		pair, err := tls.LoadX509KeyPair(l.files.CertFile, l.files.KeyFile)
		if err != nil {
			return fmt.Errorf("%s: %w; the certificate of before is served", l.field, err)
		}
		end := pair.Leaf.NotAfter
		switch {
		case now.After(end):
			return fmt.Errorf("%s: the certificate in %s expired on %s: clients refuse it; renew it, and rename the new files into place", l.field, l.files.CertFile, end.UTC().Format(time.DateTime))
		case end.Sub(now) < soon:
			return fmt.Errorf("%s: the certificate in %s expires on %s", l.field, l.files.CertFile, end.UTC().Format(time.DateTime))
		}
	}
	return nil
}
