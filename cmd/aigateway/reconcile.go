package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
	"aigateway/reconciliation"

	"github.com/spf13/cobra"
)

// reconcileFlags are the words of `reconcile`.
type reconcileFlags struct {
	files                   []string
	api                     bool
	provider, vendor, month string
	only                    []string
	config                  string
	adminKeyFile, apiURL    string
	correct, yes            bool
	least                   string
}

const reconcileLong = `Compares a month of the provider's own books with what was recorded, per UTC
day, model and tag, and on request books the difference as adjustments.

The provider's side is a usage or cost export of OpenAI or Anthropic: files that
their web pages or APIs gave (-f), or the admin API itself (--api), with an
admin key from $OPENAI_ADMIN_KEY or $ANTHROPIC_ADMIN_API_KEY. Cost exports are
compared by their amounts; usage exports have tokens only, which are priced with
the catalog. Providers know no tags: the difference of a day and model is exact,
its split over tags is in proportion to what each tag was recorded with. What the
provider billed is kept by day, in the audit log, whenever its amounts are
compared; aigateway bills shows it.

--correct shows the corrections and what they do to budgets; with --yes they are
booked. What was corrected before is not corrected again. Corrections count in
the windows that are open now, not in the month compared: a charge may pass a
cap, and calls are then refused until the window ends; a refund above what a
window has spent is refused.`

func newReconcileCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "reconcile --provider PROVIDER --month YYYY-MM (-f FILE... | --api)",
		Short: "Compare recorded costs with the provider's own, and correct them",
		Long:  reconcileLong,
		Example: `  aigateway reconcile --provider openai --month 2026-04 -f costs.json
  aigateway reconcile --provider anthropic --month 2026-04 --api -o csv
  aigateway reconcile --provider openai --month 2026-04 -f costs.csv --correct
  aigateway reconcile --provider openai --month 2026-04 -f costs.csv --correct --yes`,
		Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	r := &reconcileFlags{}
	r.bind(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := r.check(c); err != nil {
			return err
		}
		return a.reconcile(c, f, r, out)
	}
	return c
}

func (r *reconcileFlags) bind(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVarP(&r.files, "file", "f", nil, "export `file`, JSON or CSV; may be repeated")
	fl.BoolVar(&r.api, "api", false, "download the exports from the provider's admin API")
	fl.StringVar(&r.provider, "provider", "", "the `provider`'s name in the configuration (required)")
	fl.StringVar(&r.vendor, "vendor", "", "`vendor` whose API --api asks, openai or anthropic (default the provider's name)")
	fl.StringVar(&r.month, "month", "", "UTC `month` to compare, YYYY-MM (required)")
	fl.StringSliceVar(&r.only, "only", nil, "only the export's lines of these project, workspace or API key `ids`")
	fl.StringVar(&r.config, "config", "", "configuration `file` with your prices (default the built-in prices)")
	fl.StringVar(&r.adminKeyFile, "admin-key-file", "", "`file` with the provider's admin key")
	fl.StringVar(&r.apiURL, "api-url", "", "another `URL` of the admin API, such as a proxy's")
	fl.BoolVar(&r.correct, "correct", false, "show the corrections that the difference needs")
	fl.BoolVar(&r.yes, "yes", false, "book them")
	fl.StringVar(&r.least, "min", "0.01", "smallest correction in US `dollars`")
}

func (r *reconcileFlags) check(c *cobra.Command) error {
	switch {
	case r.provider == "":
		return usagef(c.CommandPath(), "--provider is missing")
	case r.month == "":
		return usagef(c.CommandPath(), "--month is missing")
	case r.api == (len(r.files) > 0):
		return usagef(c.CommandPath(), "give either exports with -f or --api")
	case r.yes && !r.correct:
		return usagef(c.CommandPath(), "--yes books corrections; it needs --correct")
	case !r.api && (r.vendor != "" || r.adminKeyFile != "" || r.apiURL != ""):
		return usagef(c.CommandPath(), "--vendor, --admin-key-file and --api-url need --api")
	}
	if _, err := reconciliation.Days(r.month); err != nil {
		return usagef(c.CommandPath(), "--month: %s", err)
	}
	if _, err := parseDollars(r.least); err != nil {
		return usagef(c.CommandPath(), "--min: %s", err)
	}
	return nil
}

// reconcile is the whole command, once its flags are known to make sense.
func (a *app) reconcile(c *cobra.Command, f *clientFlags, r *reconcileFlags, out *format) error {
	days, err := a.daysOver(r.month)
	if err != nil {
		return err
	}
	catalog, err := a.catalog(r.config)
	if err != nil {
		return err
	}
	cl, err := a.client(c, f)
	if err != nil {
		return err
	}
	exports, err := a.exports(c, r, days)
	if err != nil {
		return err
	}
	recorded, err := recordedUsage(c.Context(), cl, r.provider, days)
	if err != nil {
		return err
	}
	compare := func() (*reconciliation.Report, error) {
		booked, err := bookedAdjustments(c.Context(), cl)
		if err != nil {
			return nil, err
		}
		report, err := reconciliation.Compare(reconciliation.Input{
			Provider: r.provider, Days: days, Exports: exports, Recorded: recorded, Booked: booked, Only: r.only,
			Model: func(name string, at time.Time) (pricing.Model, bool) { return catalog.Invoiced(r.provider, name, at) },
		})
		if err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
		return report, nil
	}
	report, err := compare()
	if err != nil {
		return err
	}
	if !r.correct {
		return errors.Join(a.printReconciled(out, newReconciled(r.month, report)), keepBill(c.Context(), cl, r.month, days, report))
	}
	err = a.correct(c.Context(), cl, r, out, report)
	if r.yes { // with what was just booked
		var again error
		report, again = compare()
		if again != nil {
			return errors.Join(err, again)
		}
	}
	return errors.Join(err, keepBill(c.Context(), cl, r.month, days, report))
}

// daysOver are the month's days that have ended: the provider's numbers of a
// running day are not comparable with ours.
func (a *app) daysOver(month string) ([]reconciliation.Day, error) {
	days, err := reconciliation.Days(month)
	if err != nil {
		return nil, err
	}
	all := len(days)
	days = slices.DeleteFunc(days, func(d reconciliation.Day) bool { return d.Start().AddDate(0, 0, 1).After(a.now()) })
	if len(days) == 0 {
		return nil, fmt.Errorf("no UTC day of %s is over yet", month)
	}
	if len(days) < all {
		a.notef("note: compared up to %s, the last UTC day that is over", days[len(days)-1])
	}
	return days, nil
}

// exports reads the files, or downloads.
func (a *app) exports(c *cobra.Command, r *reconcileFlags, days []reconciliation.Day) ([]*reconciliation.Export, error) {
	if r.api {
		api, err := a.adminAPI(c, r)
		if err != nil {
			return nil, err
		}
		out, err := api.Fetch(c.Context(), days[0], days[len(days)-1])
		if err == nil && len(out) == 0 {
			err = errors.New("the provider's API has no day of this month")
		}
		return out, err
	}
	var out []*reconciliation.Export
	for _, path := range r.files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the export: %w", err)
		}
		e, err := reconciliation.Read(path, text)
		if err != nil {
			return nil, fmt.Errorf("read the export %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// recordedUsage reads the provider's usage day by day, which keeps each answer
// below the server's limit of rows.
func recordedUsage(ctx context.Context, cl *client, provider string, days []reconciliation.Day) ([]budget.UsageRow, error) {
	var out []budget.UsageRow
	for _, d := range days {
		query := url.Values{
			"from": {d.Start().Format(time.RFC3339)}, "to": {d.Start().AddDate(0, 0, 1).Format(time.RFC3339)}, "time_zone": {"UTC"},
			"group_by": {"tag,model"}, "provider": {provider},
		}
		var answer restUsage
		if err := cl.call(ctx, http.MethodGet, "/v1/usage", query, nil, &answer); err != nil {
			return nil, err
		}
		for _, r := range answer.Rows {
			row, err := r.row(d.Start())
			if err != nil {
				return nil, fmt.Errorf("the server's usage of %s: %w", d, err)
			}
			out = append(out, row)
		}
	}
	return out, nil
}

// row is the domain's form of a row grouped by tag and model.
func (r restUsageRow) row(at time.Time) (budget.UsageRow, error) {
	cost, err := budget.ParseAmount("cost_usd", r.CostUSD)
	if err != nil {
		return budget.UsageRow{}, err
	}
	estimated, err := budget.ParseAmount("estimated_cost_usd", r.EstimatedCostUSD)
	if err != nil {
		return budget.UsageRow{}, err
	}
	return budget.UsageRow{
		Attribution: budget.Attribution{Tag: budget.Tag(orElse(r.Tag, "")), Model: orElse(r.Model, "")}, Time: at,
		Requests: r.Requests, Cost: cost, Unpriced: r.UnpricedRequests, Estimated: r.EstimatedRequests, EstimatedCost: estimated,
		Tokens: budget.Tokens{Input: r.InputTokens, CacheRead: r.CacheReadTokens, CacheWrite: r.CacheWriteTokens, Output: r.OutputTokens},
	}, nil
}

func bookedAdjustments(ctx context.Context, cl *client) ([]budget.Adjustment, error) {
	all, err := listAll[restAdjustmentPage](ctx, cl, "/v1/adjustments", nil)
	if err != nil {
		return nil, err
	}
	out := make([]budget.Adjustment, len(all))
	for i, r := range all {
		amount, err := budget.ParseAmount("amount", r.Amount)
		if err != nil {
			return nil, fmt.Errorf("the server's adjustment %s: %w", r.ID, err)
		}
		out[i] = budget.Adjustment{RequestID: r.RequestID, Tag: budget.Tag(orElse(r.Tag, "")), BudgetID: orElse(r.BudgetID, ""), Amount: amount}
	}
	return out, nil
}
