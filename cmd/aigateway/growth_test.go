package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"weak"

	"aigateway/gatewayconfig"
	"aigateway/internal/envoytest"
	"aigateway/pricing"
)

// TestOldPricesGo reads the configuration again and again, each time with another
// provider and price: the lists of before are not kept, by tokens, metrics or any
// other.
func TestOldPricesGo(t *testing.T) {
	dir := envoytest.Dir(t)
	read := func(i int) *gatewayconfig.Config {
		config := writeFile(t, "aigateway.yaml", fmt.Sprintf(`
listen: {control: "unix:%s/control.sock", rest: "127.0.0.1:0", grpc: "127.0.0.1:0"}
data_dir: %s
providers:
  openai: {preset: openai, api_key: sk-x}
  p%d: {base_url: "http://127.0.0.1:9/v1", api_key: k}
models:
- {model: p%[3]d/m, limits: {context: 1000, max_output: 100}, prices: [{input: "%[3]d.5", output: "9"}]}
`, dir, filepath.Join(dir, "data"), i))
		c, err := gatewayconfig.Read(config, os.Getenv)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := newApp(io.Discard, io.Discard, os.Getenv)
	c, err := newControlPlane(t.Context(), a, read(0), false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var old []weak.Pointer[pricing.Catalog]
	for i := range 12 {
		if i > 0 {
			if err := c.apply(t.Context(), read(i)); err != nil {
				t.Fatal(err)
			}
		}
		old = append(old, weak.Make(c.catalog.Load()))
		if _, err := c.metrics.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	alive := 0
	for range 3 {
		runtime.GC()
	}
	for _, p := range old {
		if p.Value() != nil {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d price lists are in memory, one of which is in force", alive)
	}
}
