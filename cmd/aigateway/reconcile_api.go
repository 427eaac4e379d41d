package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/reconciliation"

	"github.com/spf13/cobra"
)

// The environment variables with the providers' admin keys, by the names that
// their own documentation uses.
const (
	envOpenAIAdminKey    = "OPENAI_ADMIN_KEY"
	envAnthropicAdminKey = "ANTHROPIC_ADMIN_API_KEY"
)

// adminAPI is the provider's admin API with its key, which comes from the
// environment or a file, never from the command line.
func (a *app) adminAPI(c *cobra.Command, r *reconcileFlags) (*reconciliation.API, error) {
	vendor := r.vendor
	if vendor == "" {
		vendor = r.provider
	}
	base, env := "", ""
	switch reconciliation.Vendor(vendor) {
	case reconciliation.OpenAI:
		base, env = reconciliation.OpenAIBase, envOpenAIAdminKey
	case reconciliation.Anthropic:
		base, env = reconciliation.AnthropicBase, envAnthropicAdminKey
	default:
		return nil, usagef(c.CommandPath(), "%q has no admin API that is known; name openai or anthropic with --vendor", vendor)
	}
	if r.apiURL != "" {
		base = r.apiURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, usagef(c.CommandPath(), "--api-url must be https://HOST, without a user or query; an admin key goes there")
	}
	key, err := a.vendorKey(r.adminKeyFile, env)
	if err != nil {
		return nil, err
	}
	return &reconciliation.API{
		Vendor: reconciliation.Vendor(vendor), Base: u, Key: key, Now: a.now, Wait: a.waitToRetry,
		HTTP: &http.Client{
			Timeout: time.Minute,
			// A redirect would take the key to wherever an answer says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// vendorKey finds a provider's admin key. It never repeats it.
func (a *app) vendorKey(file, env string) (string, error) {
	key, source := a.getenv(env), "environment variable "+env
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the admin key: %w", err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxKeyBytes))
		if err != nil {
			return "", fmt.Errorf("read the admin key: %w", err)
		}
		key, source = strings.TrimRight(string(text), "\r\n"), "file "+file
	}
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	switch {
	case key == "" && file == "":
		return "", withHint(fmt.Errorf("no admin key: %s is not set", env), "set it, or pass --admin-key-file FILE; the provider's console makes admin keys")
	case key == "" || strings.ContainsFunc(key, bad) || strings.HasPrefix(key, budget.KeyPrefix):
		return "", fmt.Errorf("%s holds no admin key of a provider", source)
	}
	return key, nil
}

// waitToRetry passes the time that a provider asked for.
func (a *app) waitToRetry(ctx context.Context, d time.Duration) error {
	a.notef("the provider's API cannot answer now; asking again in %s", d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
