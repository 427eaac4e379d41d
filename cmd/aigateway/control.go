package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"aigateway/gatewayconfig"
)

// listenControl binds listen.control. Whoever connects there gets every
// provider's key, so it is a socket for this user alone, or for a group; TCP
// only on loopback, with a warning, or with certificates on both sides, which
// the configuration has checked.
func listenControl(l gatewayconfig.Listen, log *slog.Logger) (net.Listener, error) {
	path, socket := strings.CutPrefix(l.Control, "unix:")
	if !socket {
		if !l.ControlTLS.Set() {
			log.Warn("every user of this machine can get the providers' keys from listen.control; use a socket, or set listen.control_tls", "address", l.Control)
		}
		return listen("listen.control", l.Control)
	}
	// Not even for a moment may others connect.
	before := syscall.Umask(0o177)
	listener, err := listen("listen.control", l.Control)
	syscall.Umask(before)
	if err != nil || l.ControlGroup == "" {
		return listener, err
	}
	err = openToGroup(path, l.ControlGroup)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen.control_group: %w", err), listener.Close())
	}
	return listener, nil
}

// openToGroup lets a group, by name or number, use a socket.
func openToGroup(path, group string) error {
	id := group
	if _, err := strconv.ParseUint(group, 10, 31); err != nil {
		found, err := user.LookupGroup(group)
		if err != nil {
			return fmt.Errorf("find the group: %w", err)
		}
		id = found.Gid
	}
	number, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("group %s has no number: %w", group, err)
	}
	err = os.Chown(path, -1, number)
	if err != nil {
		return fmt.Errorf("give the socket to the group: %w", err)
	}
	err = os.Chmod(path, 0o660)
	if err != nil {
		return fmt.Errorf("open the socket to the group: %w", err)
	}
	return nil
}

// controlCredentials is the gRPC option for listen.control_tls; none without.
func controlCredentials(files gatewayconfig.ControlTLS, log *slog.Logger) ([]grpc.ServerOption, error) {
	if !files.Set() {
		return nil, nil
	}
	c := &controlCertificates{files: files, log: log}
	first, err := c.load()
	if err != nil {
		return nil, err
	}
	c.last = first
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}))}, nil
}

// controlCertificates reads its files for every connection, of which there are
// a few for each Envoy: renewed ones are in force at once.
type controlCertificates struct {
	files gatewayconfig.ControlTLS
	log   *slog.Logger

	mu   sync.Mutex // guards last
	last *tls.Config
}

// current is what the files say, or said when they could last be read: they may
// be about to be replaced.
func (c *controlCertificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.load()
	if err != nil {
		c.log.Error("listen.control_tls cannot be read; the certificates of before stay in force", "err", err)
		return c.last
	}
	c.last = next
	return next
}

func (c *controlCertificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("listen.control_tls: %w", err)
	}
	text, err := os.ReadFile(c.files.CAFile)
	if err != nil {
		return nil, fmt.Errorf("listen.control_tls.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("listen.control_tls.ca_file: %s has no certificate in PEM", c.files.CAFile)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		SessionTicketsDisabled: true, // a client is judged by the certificates of now
	}, nil
}
