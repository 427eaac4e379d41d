package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/gatewayconfig"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

const (
	defaultServer = "http://127.0.0.1:8081"
	// adminKeyFile is what `aigateway run` writes at its first start.
	adminKeyFile = "admin.key"

	clientTimeout = 30 * time.Second
	// maxAnswerBytes bounds what is read of one answer, so that a wrong
	// --server cannot fill the memory. A page of 1,000 rows is far below.
	maxAnswerBytes = 64 << 20
	maxKeyBytes    = 4096
)

// clientFlags say which server a command talks to, and as whom.
type clientFlags struct {
	server, keyFile, config string
}

func (f *clientFlags) bind(c *cobra.Command) {
	c.PersistentFlags().StringVar(&f.server, "server", "", "`URL` of the gateway (default $"+envServer+" or "+defaultServer+")")
	c.PersistentFlags().StringVar(&f.keyFile, "api-key-file", "", "`file` with the API key (default $"+envAPIKey+", admin_key of --config, or "+adminKeyFile+" of the data directory)")
	c.PersistentFlags().StringVar(&f.config, "config", "", "configuration `file` of a gateway on this machine, for its address, data directory and admin_key")
}

// client talks to the REST door of one gateway.
type client struct {
	base  *url.URL
	key   string
	limit int64 // bytes read of one answer
	http  *http.Client

	header http.Header // of the last answer
}

// client resolves the flags. It does not connect.
func (a *app) client(c *cobra.Command, f *clientFlags) (*client, error) {
	server, dir := f.server, gatewayconfig.DataDir(a.getenv)
	var transport http.RoundTripper // the default one
	if f.config != "" {
		config, err := a.bootstrapSource(f.config)
		if err != nil {
			return nil, configError(err)
		}
		server, dir = cmp.Or(server, scheme(config.Listen.AdminTLS)+"://"+config.Listen.REST), config.DataDir
		transport = knows(config)
	}
	base, err := a.serverURL(c, server)
	if err != nil {
		return nil, err
	}
	key, err := a.apiKey(f, dir, base)
	if err != nil {
		return nil, err
	}
	return &client{base: base, key: key, limit: maxAnswerBytes, http: &http.Client{
		Timeout: clientTimeout, Transport: transport,
		// A redirect would take the key to wherever an answer says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// knows is for the REST door of a gateway with that configuration: what signed
// its certificate may be known to nobody else.
func knows(config *gatewayconfig.Config) http.RoundTripper {
	if config.AdminName == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(config.AdminCA)
	return &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: config.AdminName}}
}

func (a *app) serverURL(c *cobra.Command, flag string) (*url.URL, error) {
	raw, source := flag, "--server"
	if raw == "" {
		raw, source = a.getenv(envServer), envServer
	}
	if raw == "" {
		raw = defaultServer
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, usagef(c.CommandPath(), "%s is no URL of a gateway; write one such as %s", source, defaultServer)
	}
	if u.User != nil {
		return nil, usagef(c.CommandPath(), "%s holds a user name or password; keys go into %s or --api-key-file", source, envAPIKey)
	}
	return u, nil
}

// apiKey finds the key: --api-key-file, the environment, then the admin key of the
// configuration, as gateways with a store have it, or of the data directory. These
// last ones are sent to this machine only: nobody chose them for the server named in
// --server.
func (a *app) apiKey(f *clientFlags, dataDir string, server *url.URL) (string, error) {
	if f.keyFile != "" {
		return readKey(f.keyFile)
	}
	if key := a.getenv(envAPIKey); key != "" {
		return checkKey(key, "environment variable "+envAPIKey)
	}
	if !loopback(server.Hostname()) {
		return "", withHint(fmt.Errorf("no API key for %s", server.Host), "set "+envAPIKey+" or pass --api-key-file FILE")
	}
	if f.config != "" {
		configured, err := gatewayconfig.ReadAdminKey(f.config, a.getenv)
		if err != nil {
			return "", withHint(fmt.Errorf("read admin_key: %w", err), "set "+envAPIKey+" or pass --api-key-file FILE where admin_key cannot be read from here")
		}
		if !configured.Empty() {
			return configured.Reveal(), nil
		}
	}
	path := filepath.Join(dataDir, adminKeyFile)
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	return "", withHint(fmt.Errorf("no API key: %s is not set and there is no %s", envAPIKey, path),
		"set "+envAPIKey+", pass --api-key-file FILE, or --config with the file that `aigateway run` got, or set "+gatewayconfig.EnvDataDir+" to its data directory")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func readKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyBytes))
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	return checkKey(strings.TrimRight(string(text), "\r\n"), "file "+path)
}

// checkKey refuses what cannot be a key before it is sent anywhere: a wrong
// file would otherwise leave the machine as a header. It never repeats it.
func checkKey(key, source string) (string, error) {
	rest, ok := strings.CutPrefix(key, budget.KeyPrefix)
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if !ok || rest == "" || strings.ContainsFunc(rest, bad) {
		return "", withHint(fmt.Errorf("%s holds no aigateway key", source), "keys start with "+budget.KeyPrefix+"; `aigateway keys create` makes one")
	}
	return key, nil
}

// call sends body (nil: none) as JSON and decodes the answer strictly into out
// (nil: the answer is ignored).
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body, json.Deterministic(true)); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return connectError(c.base, err)
	}
	defer resp.Body.Close()
	c.header = resp.Header
	return decodeAnswer(resp, c.limit, out)
}

func decodeAnswer(resp *http.Response, limit int64, out any) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if int64(len(text)) > limit {
		return fmt.Errorf("the server's answer is larger than %d MiB", limit>>20)
	}
	if resp.StatusCode/100 != 2 {
		return answerError(resp, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out, json.RejectUnknownMembers(true)); err != nil {
		return withHint(fmt.Errorf("the server's answer is not what this version expects: %w", err),
			"compare `aigateway version` on both sides, and check that --server names an aigateway")
	}
	return nil
}

// connectError explains a request that got no answer.
func connectError(base *url.URL, err error) error {
	hint := "check --server or " + envServer
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		hint = "is the gateway running? start it with `aigateway run`, or name another with --server or " + envServer
	}
	var ue *url.Error
	if errors.As(err, &ue) { // its text repeats the whole URL
		err = ue.Err
	}
	return withHint(fmt.Errorf("no answer from %s: %w", base.Redacted(), err), hint)
}
