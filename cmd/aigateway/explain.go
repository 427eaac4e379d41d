package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/pricing"

	"github.com/spf13/cobra"
)

// maxExplainBytes is the largest body the gateway itself can be told to take.
const maxExplainBytes = 32 << 20

// explainFlags are the words of `explain`.
type explainFlags struct {
	file, endpoint, model, config, room, tag string
	client                                   clientFlags
}

func newExplainCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "explain -f FILE", Short: "Show, line by line, the most a request can cost",
		Long: `Computes the bound the gateway would reserve for a request body, with the same
arithmetic and prices. It sends nothing and needs no running gateway. Without
--config it knows every built-in provider.

With --tag it asks a running gateway instead: its prices, the tightest budget of
the key and the tag, and what calls with that tag cost of what they held.`,
		Example: `  aigateway explain -f body.json
  aigateway explain -f body.json --room 0.30
  aigateway explain -f body.json --tag summarize
  jq .request log.json | aigateway explain -f - --model openai/gpt-6-luna -o json`,
		Args: arguments(),
	}
	var x explainFlags
	c.Flags().StringVarP(&x.file, "file", "f", "", "`file` with the request's JSON body; - reads standard input")
	c.Flags().StringVar(&x.endpoint, "endpoint", string(pricing.Chat), "`API` the body is for: "+endpointNames())
	c.Flags().StringVar(&x.model, "model", "", "price this `model`, PROVIDER/MODEL, instead of the body's")
	c.Flags().StringVar(&x.config, "config", "", "configuration `file` with your providers and prices")
	c.Flags().StringVar(&x.room, "room", "", "`dollars` that are left: also show the largest max_tokens that fits")
	c.Flags().StringVar(&x.tag, "tag", "", "ask the running gateway, for a call with this `tag`")
	x.client.bind(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		room, err := x.check(c)
		if err != nil {
			return err
		}
		if x.tag != "" {
			return x.ask(a, c, out)
		}
		catalog, err := a.catalog(x.config)
		if err != nil {
			return err
		}
		body, err := readBody(c, x.file)
		if err != nil {
			return err
		}
		doc, err := explain(c.Context(), catalog, pricing.Query{Endpoint: pricing.Endpoint(x.endpoint), Model: x.model, Body: body, At: a.now()}, nil)
		if err != nil {
			return x.hint(domainError(err), err)
		}
		doc.compare("", room)
		return a.printExplanation(out, doc.Explanation)
	}
	return c
}

// check reads the flags; room is negative when none was given.
func (x *explainFlags) check(c *cobra.Command) (room budget.Amount, err error) {
	switch {
	case x.tag != "" && (x.config != "" || x.room != ""):
		return 0, usagef(c.CommandPath(), "--tag asks the running gateway, which has its own prices and budgets: leave --config and --room out")
	case x.file == "":
		return 0, usagef(c.CommandPath(), "-f is missing; name the file with the request's body, or - for standard input")
	case !pricing.Endpoint(x.endpoint).Known():
		return 0, usagef(c.CommandPath(), "--endpoint is %q; use %s", x.endpoint, endpointNames())
	case !c.Flags().Changed("room"):
		return -1, nil
	}
	if room, err = parseDollars(x.room); err != nil {
		return 0, usagef(c.CommandPath(), "--room: %s", err)
	}
	return room, nil
}

// endpointNames lists the APIs, for people.
func endpointNames() string {
	var names []string
	for _, e := range pricing.Endpoints() {
		names = append(names, string(e))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// hint adds to a refusal what else could be passed to explain.
func (x *explainFlags) hint(shown, cause error) error {
	var e *budget.Error
	if !errors.As(cause, &e) || e.Kind != budget.KindModelNotFound && e.Reason != "model_not_priced" {
		return shown
	}
	if x.config == "" {
		return withHint(shown, "pass --config FILE for providers and prices of your own")
	}
	return withHint(shown, "`aigateway catalog list --config "+x.config+"` shows the models")
}

func readBody(c *cobra.Command, file string) ([]byte, error) {
	r := c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the body: %w", err)
		}
		defer f.Close()
		r = f
	}
	body, err := io.ReadAll(io.LimitReader(r, maxExplainBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if len(body) > maxExplainBytes {
		return nil, fmt.Errorf("the body is larger than %d MiB, which no gateway takes", maxExplainBytes>>20)
	}
	return body, nil
}

// ask lets the running gateway explain.
func (x *explainFlags) ask(a *app, c *cobra.Command, out *format) error {
	body, err := readBody(c, x.file)
	if err != nil {
		return err
	}
	cl, err := a.client(c, &x.client)
	if err != nil {
		return err
	}
	var doc adminapi.Explanation
	q := map[string]any{"endpoint": x.endpoint, "model": x.model, "tag": x.tag, "body": string(body)}
	if err := cl.call(c.Context(), http.MethodPost, "/v1/explain", nil, q, &doc); err != nil {
		return err
	}
	return a.printExplanation(out, &doc)
}

func (a *app) printExplanation(out *format, doc *adminapi.Explanation) error {
	t := &table{columns: []column{left("LINE"), right("QUANTITY"), left("UNIT"), money("USD PER MILLION"), money("USD"), left("NOTE")}}
	for _, l := range doc.Lines {
		t.add(l.Label, strconv.FormatInt(l.Quantity, 10), l.Unit, linePrice(l), lineAmount(l), l.Note)
	}
	if out.name != "table" {
		return a.print(out, doc, t)
	}
	a.notef("%s (sent as %s), %s; prices checked %s", cleanCell(doc.Model), cleanCell(doc.UpstreamModel), doc.Endpoint, doc.PricesCheckedAt)
	if err := t.write(a.stdout); err != nil {
		return err
	}
	if doc.InjectedMaxTokens != nil {
		fmt.Fprintf(a.stdout, "\nThe body names no output cap; the gateway inserts %d tokens.\n", *doc.InjectedMaxTokens)
	}
	if doc.Room != nil {
		fmt.Fprintf(a.stdout, "\n%s\n", roomSentence(doc.Room))
	}
	if l := doc.Learned; l != nil {
		fmt.Fprintf(a.stdout, "\n%d calls with tag %s held %s times what they cost; this one likely costs $%s.\n", l.Calls, cleanCell(l.Tag), l.BoundOverCost, l.LikelyUSD)
	}
	return nil
}

// linePrice is empty for a line that only counts.
func linePrice(l adminapi.ExplanationLine) string {
	if l.PicoPerUnit == 0 {
		return ""
	}
	return perMillion(l.PicoPerUnit)
}

func lineAmount(l adminapi.ExplanationLine) string {
	if l.PicoPerUnit == 0 && l.AmountUSD == budget.Amount(0).String() && l.Label != "bound" {
		return ""
	}
	return l.AmountUSD
}

func roomSentence(r *adminapi.ExplanationRoom) string {
	verdict := "it is refused"
	if r.Fits {
		verdict = "it is admitted"
	}
	switch {
	case r.MaxTokensThatFit == nil && r.Fits:
		return fmt.Sprintf("With $%s left %s.", r.RoomUSD, verdict)
	case r.MaxTokensThatFit == nil:
		return fmt.Sprintf("With $%s left %s; no max_tokens would make it fit.", r.RoomUSD, verdict)
	}
	return fmt.Sprintf("With $%s left %s; the largest max_tokens that fits is %d.", r.RoomUSD, verdict, *r.MaxTokensThatFit)
}

// domainError shows a *budget.Error the way the gateway would: the message,
// with the reason a program can match on.
func domainError(err error) error {
	var e *budget.Error
	if errors.As(err, &e) && e.Reason != "" {
		return fmt.Errorf("%s (%s)", e.Message, e.Reason)
	}
	return err
}
