package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// restBudget is a budget as the REST API writes it.
type restBudget struct {
	ID              string  `json:"id,omitzero"`
	Tag             *string `json:"tag,omitzero"`
	KeyID           *string `json:"key_id,omitzero"`
	Period          string  `json:"period"`
	MonthlyCapCents *int64  `json:"monthly_cap_cents,omitzero"`
	DailyCapCents   *int64  `json:"daily_cap_cents,omitzero"`
	WeeklyCapCents  *int64  `json:"weekly_cap_cents,omitzero"`
	TotalCapCents   *int64  `json:"total_cap_cents,omitzero"`
	TimeZone        string  `json:"time_zone"`
	DefaultMax      int32   `json:"default_max_tokens"`
	DefaultTools    int32   `json:"default_max_tool_calls"`
	CapCents        int64   `json:"cap_cents"`
	SpentCents      int64   `json:"spent_cents"`
	ReservedCents   int64   `json:"reserved_cents"`
	RemainingCents  int64   `json:"remaining_cents"`
	Cap             string  `json:"cap"`
	Spent           string  `json:"spent"`
	Reserved        string  `json:"reserved"`
	Remaining       string  `json:"remaining"`
	WindowStart     *string `json:"window_start,omitzero"`
	ResetsAt        *string `json:"resets_at,omitzero"`
	Etag            string  `json:"etag"`
	CreateTime      *string `json:"create_time,omitzero"`
	UpdateTime      *string `json:"update_time,omitzero"`
	Forecast        *struct {
		Method    string  `json:"method"`
		Projected string  `json:"projected"`
		FullAt    *string `json:"full_at,omitzero"`
	} `json:"forecast,omitzero"`
	AsOf   string   `json:"as_of,omitzero"`
	Behind []string `json:"behind,omitzero"`
}

type restBudgetPage struct {
	Budgets       []restBudget `json:"budgets"`
	NextPageToken string       `json:"next_page_token"`
}

func (p restBudgetPage) items() ([]restBudget, string) { return p.Budgets, p.NextPageToken }

func newBudgetsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "budgets", Short: "Set and read hard spending caps",
		Long: `A budget is a hard cap on what a tag or a key may cost in each window of a
period. A tag ending in /** counts everything below it, ** counts every tag.
Amounts are US dollars.`,
		Example: `  aigateway budgets set --tag summarize --monthly 500.00
  aigateway budgets list`,
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newBudgetsListCommand(a, f), newBudgetsGetCommand(a, f), newBudgetsSetCommand(a, f), newBudgetsDeleteCommand(a, f),
		newBudgetsCurveCommand(a, f), newBudgetsWindowsCommand(a, f), newBudgetsChangesCommand(a, f))
}

func newBudgetsListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List budgets with what is spent, reserved and left",
		Example: `  aigateway budgets list
  aigateway budgets list --tag summarize -o json`,
		Args: arguments(),
	}
	tag := c.Flags().String("tag", "", "only budgets of exactly this `tag` or pattern")
	key := c.Flags().String("key", "", "only budgets of this key `id`")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := url.Values{}
		setQuery(query, "tag", *tag)
		setQuery(query, "key_id", *key)
		all, err := askAll[restBudgetPage](a, c, f, "/v1/budgets", query)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			a.noteAsOf(all[0].AsOf, all[0].Behind)
		}
		return a.print(out, all, budgetTable(all...))
	}
	return c
}

func newBudgetsGetCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "get BUDGET_ID", Short: "Show one budget",
		Example: "  aigateway budgets get bud_7",
		Args:    arguments("the budget's id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := idPath(c, "/v1/budgets/", "bud_", args[0])
		if err != nil {
			return err
		}
		b, err := ask[restBudget](a, c, f, path, nil)
		if err != nil {
			return hintUnknownID(err, "aigateway budgets list")
		}
		a.noteAsOf(b.AsOf, b.Behind)
		return a.print(out, b, budgetTable(b))
	}
	return c
}

func newBudgetsDeleteCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "delete BUDGET_ID", Short: "Remove a cap; what was spent stays in the reports",
		Example: `  aigateway budgets delete bud_7
  aigateway budgets delete bud_7 --etag "$ETAG"`,
		Args: arguments("the budget's id"),
	}
	reason := reasonFlag(c)
	etag := c.Flags().String("etag", "", "delete only the version with this `etag`, which get -o json shows")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := idPath(c, "/v1/budgets/", "bud_", args[0])
		if err != nil {
			return err
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		query := url.Values{}
		setQuery(query, "etag", *etag)
		setQuery(query, "reason", *reason)
		if err := cl.call(c.Context(), http.MethodDelete, path, query, nil, nil); err != nil {
			return hintUnknownID(err, "aigateway budgets list")
		}
		a.notef("deleted %s; its calls are no longer limited by it", args[0])
		return nil
	}
	return c
}

// budgetFlags are the words of `budgets set`.
type budgetFlags struct {
	tag, key, zone                string
	monthly, daily, weekly, total string
	maxTokens, maxToolCalls       int32
}

func newBudgetsSetCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "set (--tag TAG | --key KEY_ID) (--monthly | --daily | --weekly | --total) DOLLARS",
		Short: "Create a budget, or change the cap of the one that exists",
		Long: `Sets the hard cap of a target for a period. It is durable when the command
returns, and holds for the next request. It replaces the time zone and the
default output cap, too. What was spent in the window already
stays counted; a cap below that refuses every priced call until the window ends.`,
		Example: `  aigateway budgets set --tag summarize --monthly 500.00
  aigateway budgets set --tag 'team/a/**' --daily 20 --time-zone Europe/Berlin
  aigateway budgets set --key key_3 --total 10`,
		Args: arguments(),
	}
	var b budgetFlags
	c.Flags().StringVar(&b.tag, "tag", "", "`tag` to cap; TAG/** caps it with all below it, ** every tag")
	c.Flags().StringVar(&b.key, "key", "", "`id` of the key to cap")
	c.Flags().StringVar(&b.monthly, "monthly", "", "cap in `dollars` for each calendar month")
	c.Flags().StringVar(&b.daily, "daily", "", "cap in `dollars` for each calendar day")
	c.Flags().StringVar(&b.weekly, "weekly", "", "cap in `dollars` for each week, from Monday")
	c.Flags().StringVar(&b.total, "total", "", "cap in `dollars` for ever")
	c.Flags().StringVar(&b.zone, "time-zone", "", "IANA time `zone` of the windows (default the gateway's)")
	c.Flags().Int32Var(&b.maxTokens, "default-max-tokens", 0, "output cap in `tokens` of calls that name none (default the model's or provider's)")
	c.Flags().Int32Var(&b.maxToolCalls, "default-max-tool-calls", 0, "uses of the provider's own tools, such as its web search, in `calls` that do not limit them (default the provider's)")
	reason := reasonFlag(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		body, err := b.body(c)
		if err != nil {
			return err
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		return a.setBudget(c.Context(), cl, out, body, *reason)
	}
	return c
}

// reasonFlag is why a person changes something.
func reasonFlag(c *cobra.Command) *string {
	return c.Flags().String("reason", "", "`why`, for the audit log")
}

// body is the request: one target and one cap.
func (b *budgetFlags) body(c *cobra.Command) (map[string]any, error) {
	target, err := oneFlag(c, "say what to cap", "tag", "key")
	if err != nil {
		return nil, err
	}
	period, err := oneFlag(c, "say how much for which period", "monthly", "daily", "weekly", "total")
	if err != nil {
		return nil, err
	}
	dollars := map[string]string{"monthly": b.monthly, "daily": b.daily, "weekly": b.weekly, "total": b.total}[period]
	cents, err := parseCap(dollars)
	if err != nil {
		return nil, usagef(c.CommandPath(), "--%s: %s", period, err)
	}
	body := map[string]any{period + "_cap_cents": cents}
	switch target {
	case "tag":
		body["tag"] = b.tag
	case "key":
		body["key_id"] = b.key
	}
	if b.zone != "" {
		body["time_zone"] = b.zone
	}
	if b.maxTokens != 0 {
		body["default_max_tokens"] = b.maxTokens
	}
	if b.maxToolCalls != 0 {
		body["default_max_tool_calls"] = b.maxToolCalls
	}
	return body, nil
}

func (a *app) setBudget(ctx context.Context, cl *client, out *format, body map[string]any, reason string) error {
	query := url.Values{}
	setQuery(query, "reason", reason)
	var b restBudget
	if err := cl.call(ctx, http.MethodPost, "/v1/budgets", query, body, &b); err != nil {
		return err
	}
	if b.RemainingCents == 0 {
		until := ""
		if b.ResetsAt != nil {
			until = " until " + *b.ResetsAt
		}
		a.notef("note: less than a cent is left: priced calls are refused%s", clean(until))
	}
	return a.print(out, b, budgetTable(b))
}

func budgetTable(budgets ...restBudget) *table {
	t := &table{
		columns: []column{left("ID"), left("TAG"), left("KEY ID"), left("PERIOD"), money("CAP USD"), money("SPENT USD"),
			money("RESERVED USD"), money("REMAINING USD"), left("RESETS AT"), left("TIME ZONE"), left("DEFAULT MAX TOKENS"), left("DEFAULT MAX TOOL CALLS")},
		empty: "no budgets; `aigateway budgets set --tag TAG --monthly DOLLARS` makes one",
	}
	for _, b := range budgets {
		t.add(b.ID, orElse(b.Tag, ""), orElse(b.KeyID, ""), b.Period, b.Cap, b.Spent, b.Reserved, b.Remaining, orElse(b.ResetsAt, "never"), b.TimeZone, orNone(b.DefaultMax), orNone(b.DefaultTools))
	}
	return t
}

// orNone is a default output cap; 0 is none, shown as nothing.
func orNone(tokens int32) string {
	if tokens == 0 {
		return ""
	}
	return strconv.Itoa(int(tokens))
}

func orElse(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func setQuery(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// oneFlag returns which of the flags was given; it must be exactly one, and
// not empty.
func oneFlag(c *cobra.Command, what string, names ...string) (string, error) {
	var given []string
	for _, n := range names {
		if c.Flags().Changed(n) {
			given = append(given, n)
		}
	}
	list := "--" + strings.Join(names, ", --")
	if len(given) == 0 {
		return "", usagef(c.CommandPath(), "%s: give one of %s", what, list)
	}
	if len(given) > 1 {
		return "", usagef(c.CommandPath(), "--%s and --%s are both given: give one of %s", given[0], given[1], list)
	}
	if c.Flag(given[0]).Value.String() == "" {
		return "", usagef(c.CommandPath(), "--%s is empty", given[0])
	}
	return given[0], nil
}

// idPath is the URL path of a resource. Ids are made by the server and plain;
// anything else could name another path.
func idPath(c *cobra.Command, collection, prefix, id string) (string, error) {
	rest, ok := strings.CutPrefix(id, prefix)
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-'
	}
	if !ok || rest == "" || len(id) > 128 || strings.ContainsFunc(rest, func(r rune) bool { return !plain(r) }) {
		return "", usagef(c.CommandPath(), "%q is no id; ids look like %s…", id, prefix)
	}
	return collection + id, nil
}

// hintUnknownID says where ids come from when the server knew none such.
func hintUnknownID(err error, list string) error {
	var e *apiError
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return withHint(err, fmt.Sprintf("`%s` shows the ids", list))
	}
	return err
}
