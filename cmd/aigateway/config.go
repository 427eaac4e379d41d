package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
	"aigateway/ledger"

	"github.com/spf13/cobra"
)

// checkedConfig is what `config check` found; the names are those of -o json.
type checkedConfig struct {
	File      string            `json:"file"`
	Providers []checkedProvider `json:"providers"`
	Catalog   string            `json:"catalog_version"`
	Models    int               `json:"priced_models"`
	Retention checkedRetention  `json:"retention"`
}

// checkedRetention is what is kept for how long, and what that takes of the disk.
type checkedRetention struct {
	CallsDays   int64 `json:"calls_days"`
	UsageMonths int64 `json:"usage_months"`
	BytesAt10   int64 `json:"bytes_at_10_calls_per_second"`
	BytesAt1000 int64 `json:"bytes_at_1000_calls_per_second"`
}

func checkRetention(r gatewayconfig.Retention) checkedRetention {
	estimate := func(rate int64) int64 {
		return ledger.DiskEstimate(rate, time.Duration(r.CallsDays)*24*time.Hour, int(r.UsageMonths))
	}
	return checkedRetention{CallsDays: r.CallsDays, UsageMonths: r.UsageMonths, BytesAt10: estimate(10), BytesAt1000: estimate(1000)}
}

// checkedProvider never shows a credential, only whether there is one.
type checkedProvider struct {
	Name    string   `json:"name"`
	Preset  string   `json:"preset"`
	BaseURL string   `json:"base_url"`
	APIs    []string `json:"apis"`
	HasKey  bool     `json:"has_key"`
	// Credential is how the provider knows the gateway: key, oauth2, aws,
	// gcp_metadata or none.
	Credential string `json:"credential"`
}

func newConfigCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Check and describe the configuration file",
		Example: `  aigateway config example > aigateway.yaml
  aigateway config check aigateway.yaml`,
	}
	return group(c, newConfigCheckCommand(a),
		newTextCommand(a, "schema", "Print the JSON Schema of the configuration file", "  aigateway config schema > schema.json", gatewayconfig.Schema),
		newTextCommand(a, "example", "Print a complete, commented configuration file", "  aigateway config example > aigateway.yaml", gatewayconfig.Example))
}

func newConfigCheckCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration as \"aigateway run\" would read it",
		Long: `Reads the configuration with its variables, secret files and prices, and lists
every problem with its line. Without FILE it checks what the environment alone
gives: the providers whose key variables are set. It contacts nobody.`,
		Example: `  aigateway config check aigateway.yaml
  aigateway config check -o json`,
		Args: optionalArgument,
	}
	flag := c.Flags().String("config", "", "the same as FILE, as in the other commands")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path := *flag
		if len(args) == 1 {
			if path != "" {
				return usagef(c.CommandPath(), "FILE and --config are both given; give one")
			}
			path = args[0]
		}
		config, err := a.checkConfig(path)
		if err != nil {
			return configError(err)
		}
		doc := checkedConfig{File: config.Path, Providers: []checkedProvider{}, Catalog: config.Catalog.Version(), Models: len(config.Catalog.Models(a.now())), Retention: checkRetention(config.Retention)}
		for _, p := range config.Providers {
			doc.Providers = append(doc.Providers, checkProvider(p))
		}
		if _, err := envoy.Find(config.Envoy.Path); err != nil {
			a.notef("warning: `aigateway run` would not start here, only `aigateway serve`: %s", err)
		}
		return a.printChecked(out, doc)
	}
	return c
}

func optionalArgument(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef(c.CommandPath(), "unexpected argument %q", args[1])
	}
	return nil
}

// readConfig reads the file at path; without one, what the environment alone
// gives.
func (a *app) readConfig(path string) (*gatewayconfig.Config, error) {
	if path != "" {
		return gatewayconfig.Read(path, a.getenv)
	}
	return gatewayconfig.Default(a.getenv)
}

func (a *app) checkConfig(path string) (*gatewayconfig.Config, error) {
	if path != "" {
		return gatewayconfig.Check(path, a.getenv)
	}
	return gatewayconfig.Default(a.getenv)
}

// configError keeps each problem on a line of its own: file:line:column first,
// so that editors can jump there.
func configError(err error) error {
	var problems gatewayconfig.Problems
	if !errors.As(err, &problems) {
		return err
	}
	what := "1 problem"
	if len(problems) != 1 {
		what = fmt.Sprintf("%d problems", len(problems))
	}
	return withHint(fmt.Errorf("the configuration has %s\n%w", what, problems), "`aigateway config example` prints a file that is right")
}

func checkProvider(p gatewayconfig.Provider) checkedProvider {
	c := checkedProvider{Name: p.Name, Preset: p.Preset, BaseURL: p.BaseURL.Redacted(), HasKey: !p.APIKey.Empty(), Credential: p.Credential()}
	for _, api := range p.APIs {
		c.APIs = append(c.APIs, string(api))
	}
	return c
}

func (a *app) printChecked(out *format, doc checkedConfig) error {
	name := doc.File
	if name == "" {
		name = "the environment's configuration"
	}
	t := &table{
		columns: []column{left("PROVIDER"), left("PRESET"), left("KEY"), left("APIS"), left("URL")},
		empty:   "no providers: name one in the file, or set its key variable, such as OPENAI_API_KEY",
	}
	for _, p := range doc.Providers {
		key := p.Credential
		if p.HasKey {
			key = "set"
		}
		t.add(p.Name, p.Preset, key, strings.Join(p.APIs, ", "), p.BaseURL)
	}
	if err := a.print(out, doc, t); err != nil {
		return err
	}
	r := doc.Retention
	a.notef("calls are kept for %d days, usage by the quarter of an hour for %d months: some %.1f GB of disk at 10 calls/s, %.0f GB at 1,000",
		r.CallsDays, r.UsageMonths, float64(r.BytesAt10)/1e9, float64(r.BytesAt1000)/1e9)
	a.notef("%s is right; catalog %s prices %d models of its providers", name, doc.Catalog, doc.Models)
	return nil
}

// newTextCommand prints a text that is part of the binary.
func newTextCommand(a *app, name, short, example string, text func() string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Example: example, Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			if _, err := io.WriteString(a.stdout, text()); err != nil {
				return fmt.Errorf("write the text: %w", err)
			}
			return nil
		},
	}
}
