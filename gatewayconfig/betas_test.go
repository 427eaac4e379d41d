package gatewayconfig_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"aigateway/gatewayconfig"
	"aigateway/internal/goldentest"
)

// betasPage is docs/betas.md.
func betasPage(betas []gatewayconfig.Beta) string {
	var b strings.Builder
	b.WriteString(`# Which betas of Anthropic's API pass

Written by ` + "`go test ./gatewayconfig -run TestBetas -update`" + ` from [betas.yaml](../gatewayconfig/betas.yaml), which says where each name was read.

A client's ` + "`anthropic-beta`" + ` reaches a provider with the preset ` + "`anthropic`" + ` only as far as this list allows; ` + "`allowed_betas`" + ` of a provider replaces it. What is taken out is not refused: a body that needs it is refused by the provider, and costs nothing.

`)
	for _, part := range []struct {
		title string
		allow bool
	}{{"Passed on", true}, {"Taken out", false}} {
		b.WriteString("## " + part.title + "\n\n| Beta | Read in | Money |\n|---|---|---|\n")
		for _, beta := range betas {
			if beta.Allow == part.allow {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", beta.Name, strings.Join(beta.From, ", "), beta.Money)
			}
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestBetas(t *testing.T) {
	betas, err := gatewayconfig.Betas()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, b := range betas {
		if seen[b.Name] || b.Money == "" || len(b.From) == 0 {
			t.Errorf("%+v: there twice, or without a word on money or a source", b)
		}
		seen[b.Name] = true
		for _, from := range b.From {
			if !slices.Contains([]string{"sdk", "code", "sent", "docs"}, from) {
				t.Errorf("%s was read in %q, which betas.yaml does not explain", b.Name, from)
			}
		}
		// What Claude Code sends in every call, it needs.
		if slices.Contains(b.From, "sent") && !b.Allow {
			t.Errorf("%s is sent and not allowed", b.Name)
		}
	}
	goldentest.Equal(t, "../docs/betas.md", betasPage(betas))
}

// What can cost without a bound stays out, by name.
func TestBetasWithoutABoundStayOut(t *testing.T) {
	c := mustParse(t, "providers: {anthropic: {api_key: k}, own: {preset: anthropic, api_key: k, allowed_betas: [x-1]}}")
	for _, b := range c.Providers[0].AllowedBetas {
		for _, no := range []string{"context-1m", "compact", "mcp-", "files-", "code-execution", "skills", "advisor", "server-side-fallback", "message-threads", "fallback-credit"} {
			if strings.HasPrefix(b, no) {
				t.Errorf("%s is allowed, and it can cost more than the bound", b)
			}
		}
	}
	if len(c.Providers[0].AllowedBetas) < 30 {
		t.Errorf("allowed: %q", c.Providers[0].AllowedBetas)
	}
	if got := c.Providers[1].AllowedBetas; !slices.Equal(got, []string{"x-1"}) {
		t.Errorf("a list of the file's own became %q", got)
	}
}
