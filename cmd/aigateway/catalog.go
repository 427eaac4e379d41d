package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/gatewayconfig"
	"aigateway/pricing"

	"github.com/spf13/cobra"
)

// listedModel is a model with its base prices; the names are those of -o json.
type listedModel struct {
	Model         string       `json:"model"`
	UpstreamModel string       `json:"upstream_model"`
	Provider      string       `json:"provider"`
	Family        string       `json:"family"`
	Context       int64        `json:"context_tokens"`    // 0: unknown
	MaxOutput     int64        `json:"max_output_tokens"` // 0: unknown
	From          string       `json:"from"`              // empty: always
	CheckedAt     string       `json:"checked_at"`
	AgeDays       int64        `json:"age_days"`
	Source        string       `json:"source"`
	Rates         []listedRate `json:"rates"`
	// Where the limits come from; empty: nobody wrote it down.
	LimitsSource    string `json:"limits_source"`
	LimitsCheckedAt string `json:"limits_checked_at"`
	// Upcoming are the days on which other prices begin.
	Upcoming []string         `json:"upcoming"`
	Accepted []listedAccepted `json:"accepted"`
}

// listedAccepted says who let which values fall, and when.
type listedAccepted struct {
	By     string   `json:"by"`
	At     string   `json:"at"`
	Fields []string `json:"fields"`
}

// listedRate is one price in exact US dollars per million tokens.
type listedRate struct {
	Kind          string `json:"kind"`
	FromTokens    int64  `json:"from_input_tokens"`
	USDPerMillion string `json:"usd_per_million_tokens"`
}

func newCatalogCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "catalog", Short: "Show and renew models and their prices",
		Long: `The price list is part of this binary; a configuration's prices_file and its
models section go on top of it. Prices are US dollars per million tokens.`,
		Example: `  aigateway catalog list --provider openai
  aigateway catalog show moonshot/kimi-k2.6
  aigateway catalog diff`,
	}
	return group(c, newCatalogListCommand(a), newCatalogShowCommand(a), newCatalogDiffCommand(a), newCatalogImportCommand(a))
}

func newCatalogListCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the models that have a price",
		Example: `  aigateway catalog list
  aigateway catalog list --provider openai -o csv
  aigateway catalog list --config aigateway.yaml`,
		Args: arguments(),
	}
	config := c.Flags().String("config", "", "configuration `file` with your providers and prices (default every built-in provider)")
	provider := c.Flags().String("provider", "", "only this `provider`")
	out := outputFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		catalog, err := a.catalog(*config)
		if err != nil {
			return err
		}
		models := []listedModel{}
		for _, m := range catalog.Models(a.now()) {
			if *provider == "" || m.Provider == *provider {
				models = append(models, listModel(catalog, m, a.now()))
			}
		}
		if len(models) > 0 {
			a.noteCatalog(catalog)
		}
		return a.print(out, models, modelTable(models))
	}
	return c
}

func newCatalogShowCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "show MODEL", Short: "Show every price of one model",
		Example: `  aigateway catalog show openai/gpt-6-sol
  aigateway catalog show anthropic/claude-sonnet-4.6 -o yaml`,
		Args: arguments("the model, as PROVIDER/MODEL,"),
	}
	config := c.Flags().String("config", "", "configuration `file` with your providers and prices (default every built-in provider)")
	out := outputFlag(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		catalog, err := a.catalog(*config)
		if err != nil {
			return err
		}
		m, err := catalog.Resolve(args[0], a.now())
		if err != nil {
			return withHint(domainError(err), "`aigateway catalog list` shows the models")
		}
		if m.Row == nil {
			return withHint(fmt.Errorf("%s has no price: it is refused on budgeted tags and unpriced on others", m.Slug),
				"`aigateway catalog import --file prices.yaml --add "+m.Slug+"` takes it from public data; or add it under models in the configuration, as `aigateway config example` shows")
		}
		doc := listModel(catalog, m, a.now())
		if out.name == "table" {
			a.noteModel(doc)
			a.noteCatalog(catalog)
		}
		t := &table{columns: []column{left("PRICE"), right("FROM INPUT TOKENS"), money("USD PER MILLION")}}
		for _, r := range doc.Rates {
			t.add(r.Kind, strconv.FormatInt(r.FromTokens, 10), r.USDPerMillion)
		}
		return a.print(out, doc, t)
	}
	return c
}

func listModel(catalog *pricing.Catalog, m pricing.Model, now time.Time) listedModel {
	l := listedModel{
		Model: m.Slug, UpstreamModel: m.UpstreamModel, Provider: m.Provider, Family: m.Row.Family,
		Context: m.Row.Context, MaxOutput: m.Row.MaxOutput, From: date(m.Row.From), CheckedAt: date(m.Row.CheckedAt),
		Source: m.Row.Source, Rates: []listedRate{}, Upcoming: []string{}, Accepted: []listedAccepted{},
		LimitsSource: m.Row.LimitsSource, LimitsCheckedAt: date(m.Row.LimitsCheckedAt),
	}
	if sheet, ok := catalog.Sheet(m.Slug); ok {
		for _, p := range sheet.Periods {
			if p.From.After(now) {
				l.Upcoming = append(l.Upcoming, date(p.From))
			}
		}
	}
	for _, x := range m.Row.Accepted {
		l.Accepted = append(l.Accepted, listedAccepted{x.By, date(x.At), x.Fields})
	}
	if !m.Row.CheckedAt.IsZero() {
		l.AgeDays = ageDays(m.Row.CheckedAt, now)
	}
	for _, r := range m.Row.Rates() {
		l.Rates = append(l.Rates, listedRate{r.Kind, r.FromTokens, perMillion(r.PicoPerToken)})
	}
	return l
}

func modelTable(models []listedModel) *table {
	t := &table{
		columns: []column{left("MODEL"), money("INPUT"), money("CACHE READ"), money("CACHE WRITE"), money("OUTPUT"), left("TIERS"),
			right("CONTEXT"), right("MAX OUTPUT"), left("CHECKED"), right("AGE DAYS")},
		empty: "no model of these providers has a price",
	}
	for _, m := range models {
		tiers := ""
		if m.tiered() {
			tiers = "yes"
		}
		t.add(m.Model, m.base("input"), m.base("cache_read"), m.base("cache_write"), m.base("output"), tiers,
			count(m.Context), count(m.MaxOutput), m.CheckedAt, strconv.FormatInt(m.AgeDays, 10))
	}
	return t
}

// base is the price of a kind of token in the lowest tier, empty without one.
func (m listedModel) base(kind string) string {
	for _, r := range m.Rates {
		if r.Kind == kind && r.FromTokens == 0 {
			return r.USDPerMillion
		}
	}
	return ""
}

func (m listedModel) tiered() bool {
	return slices.ContainsFunc(m.Rates, func(r listedRate) bool { return r.FromTokens > 0 })
}

func (a *app) noteCatalog(c *pricing.Catalog) {
	a.notef("catalog %s, newest price checked %s (%s); US dollars per million tokens",
		c.Version(), date(c.Date()), days(ageDays(c.Date(), a.now())))
}

func (a *app) noteModel(m listedModel) {
	since := ""
	if m.From != "" {
		since = ", since " + m.From
	}
	a.notef("%s, sent as %s; tokens of context: %s, of output: %s", m.Model, m.UpstreamModel, orUnknown(count(m.Context)), orUnknown(count(m.MaxOutput)))
	checked := "nobody wrote down when they were checked"
	if m.CheckedAt != "" {
		checked = fmt.Sprintf("checked %s (%s)", m.CheckedAt, days(m.AgeDays))
	}
	a.notef("prices of %s%s, %s", m.Source, since, checked)
	if m.LimitsSource != "" {
		a.notef("limits of %s, checked %s", m.LimitsSource, cmp.Or(m.LimitsCheckedAt, "at a time nobody wrote down"))
	}
	if len(m.Upcoming) > 0 {
		a.notef("other prices begin on %s", strings.Join(m.Upcoming, ", "))
	}
	for _, x := range m.Accepted {
		a.notef("%s let %s fall on %s", cleanCell(x.By), cleanCell(strings.Join(x.Fields, ", ")), x.At)
	}
}

func days(n int64) string {
	switch n {
	case 0:
		return "today"
	case 1:
		return "1 day ago"
	}
	return fmt.Sprintf("%d days ago", n)
}

func ageDays(then, now time.Time) int64 { return max(0, int64(now.Sub(then)/(24*time.Hour))) }

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// count is empty for a number that is not known.
func count(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// perMillion shows pico-USD per token as exact dollars per million tokens.
func perMillion(pico int64) string { return decimal(pico, 6) }

// decimal shows n/10^places exactly, with at least two decimals.
func decimal(n int64, places int) string {
	s := strconv.FormatInt(n, 10)
	if len(s) <= places {
		s = strings.Repeat("0", places+1-len(s)) + s
	}
	whole, frac := s[:len(s)-places], strings.TrimRight(s[len(s)-places:], "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return whole + "." + frac
}

// catalog loads the prices for a configuration file, or for every built-in
// provider when path is empty.
func (a *app) catalog(path string) (*pricing.Catalog, error) {
	config, err := a.offlineConfig(path)
	if err != nil {
		return nil, err
	}
	return config.Catalog, nil
}

// offlineConfig is the configuration for commands that send nothing: secrets
// need not be set, and without a file every built-in provider counts as
// configured.
func (a *app) offlineConfig(path string) (*gatewayconfig.Config, error) {
	config, err := gatewayconfig.Default(everyProvider)
	if path != "" {
		config, err = gatewayconfig.ReadWithoutSecrets(path, func(name string) string {
			return cmp.Or(a.getenv(name), everyProvider(name))
		})
	}
	if err != nil {
		return nil, configError(err)
	}
	return config, nil
}

// everyProvider answers for an environment in which each provider has a key, no
// address is moved, and the data directory, which nobody opens, has a place.
func everyProvider(name string) string {
	switch {
	case strings.HasSuffix(name, "_API_KEY"):
		return "unset" // nobody will use it
	case name == gatewayconfig.EnvDataDir:
		return os.TempDir()
	}
	return ""
}
