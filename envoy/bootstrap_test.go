package envoy_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

func bootstrapConfig(dir string) envoy.BootstrapConfig {
	return envoy.BootstrapConfig{
		NodeID: "n", ClientsAddress: "0.0.0.0:8080", AdminAddress: "unix:" + filepath.Join(dir, "a.sock"),
		ControlAddress: "unix:" + filepath.Join(dir, "c.sock"), SpoolPath: filepath.Join(dir, "s.jsonl"),
	}
}

func TestBootstrapIsDeterministic(t *testing.T) {
	first, err := envoy.Bootstrap(bootstrapConfig("d"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := envoy.Bootstrap(bootstrapConfig("d"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("the same configuration rendered differently")
		}
	}
}

// TestEnvoyAcceptsBootstrap lets Envoy itself validate every form of address.
func TestEnvoyAcceptsBootstrap(t *testing.T) {
	path := envoytest.Find(t)
	for _, control := range []string{"unix:c.sock", "127.0.0.1:18000", "[::1]:18000", "localhost:18000"} {
		dir := envoytest.Dir(t)
		c := bootstrapConfig(dir)
		c.ControlAddress, c.AdminAddress, c.ClientsAddress = control, "127.0.0.1:0", "unix:"+filepath.Join(dir, "l.sock")
		c.Heartbeat, c.CheckTimeout, c.MaxConnections = time.Second, 1500*time.Millisecond, 7
		text, err := envoy.Bootstrap(c)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, envoy.FileBootstrap)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, path, "--mode", "validate", "-c", file).CombinedOutput()
		if err != nil {
			t.Errorf("control %s: %v\n%s", control, err, out)
		}
	}
}

func TestBootstrapRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*envoy.BootstrapConfig)
		want   string
	}{
		"no node":       {func(c *envoy.BootstrapConfig) { c.NodeID = "" }, "NodeID is required"},
		"no spool":      {func(c *envoy.BootstrapConfig) { c.SpoolPath = "" }, "SpoolPath is required"},
		"no port":       {func(c *envoy.BootstrapConfig) { c.ClientsAddress = "localhost" }, "host:port"},
		"named port":    {func(c *envoy.BootstrapConfig) { c.ControlAddress = "h:http" }, "numeric port"},
		"port too high": {func(c *envoy.BootstrapConfig) { c.AdminAddress = "h:70000" }, "numeric port"},
		"long socket":   {func(c *envoy.BootstrapConfig) { c.AdminAddress = "unix:/" + strings.Repeat("x", 107) }, "1 to 107 bytes"},
		"empty socket":  {func(c *envoy.BootstrapConfig) { c.AdminAddress = "unix:" }, "1 to 107 bytes"},
		"body":          {func(c *envoy.BootstrapConfig) { c.MaxBodyBytes = 2 << 30 }, "MaxBodyBytes"},
		"negative":      {func(c *envoy.BootstrapConfig) { c.CheckTimeout = -time.Second }, "at least 1ms"},
		"connections":   {func(c *envoy.BootstrapConfig) { c.MaxConnections = -1 }, "MaxConnections"},
	} {
		c := bootstrapConfig("d")
		tc.change(&c)
		if _, err := envoy.Bootstrap(c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
	}
}
