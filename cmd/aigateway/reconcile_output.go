package main

import (
	"fmt"
	"strconv"
	"strings"

	"aigateway/reconciliation"
)

// reconciled is the report as -o json prints it.
type reconciled struct {
	Provider    string              `json:"provider"`
	Month       string              `json:"month"`
	TimeZone    string              `json:"time_zone"`
	Exports     []reconciledExport  `json:"exports"`
	Rows        []reconciledRow     `json:"rows"`
	Total       reconciledAmounts   `json:"total"`
	MissingDays []string            `json:"missing_days"`
	Notes       []string            `json:"notes"`
	Corrections []plannedCorrection `json:"corrections,omitzero"`
}

type reconciledExport struct {
	Name    string   `json:"name"`
	SHA256  string   `json:"sha256"`
	Reports []string `json:"reports"`
}

type reconciledRow struct {
	Day   string `json:"day"`
	Model string `json:"model,omitzero"`
	Item  string `json:"item,omitzero"`
	Tag   string `json:"tag,omitzero"`
	reconciledAmounts
	Priced  bool     `json:"priced_by_catalog"`
	Reasons []string `json:"reasons"`
}

type reconciledAmounts struct {
	Vendor            string `json:"vendor_usd"`
	Recorded          string `json:"recorded_usd"`
	Drift             string `json:"drift_usd"`
	Estimated         string `json:"estimated_usd"`
	Corrected         string `json:"corrected_usd"`
	Open              string `json:"open_usd"`
	Requests          int64  `json:"requests"`
	EstimatedRequests int64  `json:"estimated_requests"`
	UnpricedRequests  int64  `json:"unpriced_requests"`
}

func newReconciled(month string, r *reconciliation.Report) *reconciled {
	d := &reconciled{
		Provider: r.Provider, Month: month, TimeZone: "UTC", Exports: []reconciledExport{}, Rows: []reconciledRow{},
		Total: amountsOf(r.Total), MissingDays: []string{}, Notes: append([]string{}, r.Notes...),
	}
	for _, e := range r.Exports {
		d.Exports = append(d.Exports, reconciledExport{e.Name, e.SHA256, e.Reports()})
	}
	for _, row := range r.Rows {
		d.Rows = append(d.Rows, reconciledRow{
			Day: string(row.Day), Model: row.Model, Item: row.Item, Tag: row.Tag, reconciledAmounts: amountsOf(row),
			Priced: row.Priced, Reasons: append([]string{}, row.Reasons...),
		})
	}
	for _, day := range r.Missing {
		d.MissingDays = append(d.MissingDays, string(day))
	}
	return d
}

func amountsOf(r reconciliation.Row) reconciledAmounts {
	return reconciledAmounts{
		Vendor: r.Vendor.String(), Recorded: r.Recorded.String(), Drift: r.Drift.String(), Estimated: r.Estimated.String(),
		Corrected: r.Corrected.String(), Open: r.Open.String(),
		Requests: r.Requests, EstimatedRequests: r.EstimatedRequests, UnpricedRequests: r.UnpricedRequests,
	}
}

// printReconciled prints the comparison, and the corrections if there is a list
// of them; a csv has one table, so then the corrections alone.
func (a *app) printReconciled(out *format, d *reconciled) error {
	for _, n := range d.Notes {
		a.notef("note: %s", clean(n))
	}
	if out.name == "csv" && d.Corrections != nil {
		return a.print(out, d, correctionTable(d.Corrections))
	}
	if err := a.print(out, d, reconciledTable(out, d)); err != nil || out.name != "table" {
		return err
	}
	if len(d.Rows) > 0 {
		a.notef("days are UTC days; the drift of a day and model is exact, its split over tags is in proportion to what was recorded")
	}
	if d.Corrections == nil {
		return nil
	}
	if len(d.Rows) > 0 && len(d.Corrections) > 0 {
		fmt.Fprintln(a.stdout)
	}
	return a.print(out, d, correctionTable(d.Corrections))
}

func reconciledTable(out *format, d *reconciled) *table {
	t := &table{
		columns: []column{left("DAY"), left("MODEL"), left("TAG"), money("VENDOR USD"), money("RECORDED USD"), money("DRIFT USD"),
			money("ESTIMATED USD"), money("CORRECTED USD"), left("REASONS")},
		empty: "nothing to compare",
	}
	last := ""
	for _, r := range d.Rows {
		model, why := modelOrItem(r.Model, r.Item), strings.Join(r.Reasons, "; ")
		if of := r.Day + " " + model; out.name == "table" && of == last {
			why = "" // said in the row above
		} else {
			last = of
		}
		t.add(append(append([]string{r.Day, model, r.Tag}, r.amounts()...), why)...)
	}
	if out.name == "table" && len(d.Rows) > 0 {
		t.add(append(append([]string{"total", "", ""}, d.Total.amounts()...), "")...)
	}
	return t
}

func modelOrItem(model, item string) string {
	if model != "" {
		return model
	}
	return "(" + item + ")"
}

func (r reconciledAmounts) amounts() []string {
	return []string{r.Vendor, r.Recorded, r.Drift, r.Estimated, r.Corrected}
}

// plannedCorrection is one correction, before or after it is booked.
type plannedCorrection struct {
	Day        string `json:"day"`
	Model      string `json:"model,omitzero"`
	Item       string `json:"item,omitzero"`
	Tag        string `json:"tag"`
	Amount     string `json:"amount_usd"`
	RequestID  string `json:"request_id"`
	Reason     string `json:"reason"`
	Effect     string `json:"effect"`
	Booked     string `json:"adjustment_id,omitzero"` // empty: not booked
	NotBooked  string `json:"not_booked,omitzero"`    // why it could not be
	overTheCap bool
}

func correctionTable(list []plannedCorrection) *table {
	t := &table{
		columns: []column{left("DAY"), left("MODEL"), left("TAG"), money("CORRECTION USD"), left("BOOKED AS"), left("EFFECT")},
		empty:   "no corrections are needed",
	}
	for _, c := range list {
		effect := c.Effect
		if c.NotBooked != "" {
			effect = "not booked: " + c.NotBooked
		}
		t.add(c.Day, modelOrItem(c.Model, c.Item), c.Tag, c.Amount, c.Booked, effect)
	}
	return t
}

// planned shows a step of a plan.
func planned(s reconciliation.Step) plannedCorrection {
	p := plannedCorrection{
		Day: string(s.Row.Day), Model: s.Row.Model, Item: s.Row.Item, Tag: s.Row.Tag, Amount: s.Adjustment.Amount.String(),
		RequestID: s.Adjustment.RequestID, Reason: s.Adjustment.Reason, NotBooked: s.Refused,
	}
	var effects []string
	for _, e := range s.Effects {
		b := e.Budget
		text := fmt.Sprintf("%s (%s a %s): spent %s becomes %s of %s", b.ID, b.Target.Tags, b.Period, e.Before, e.After, b.Cap)
		if e.Over > 0 {
			p.overTheCap = true
			until := ""
			if !b.Window.End.IsZero() {
				until = " until " + b.Window.End.UTC().Format("2006-01-02T15:04:05Z07:00")
			}
			text += fmt.Sprintf(", passes the cap by %s: calls are refused%s", e.Over, until)
		}
		effects = append(effects, text)
	}
	p.Effect = strings.Join(effects, "; ")
	if p.Effect == "" && p.NotBooked == "" {
		p.Effect = "no budget watches the tag"
	}
	return p
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
