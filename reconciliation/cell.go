package reconciliation

import (
	"cmp"
	"math/big"
	"slices"

	"aigateway/budget"
	"aigateway/pricing"
)

// cell is one day and model, or one day and item.
type cell struct {
	day         Day
	model, item string
	billed      big.Rat
	slack       budget.Amount // how far billed may be off
	priced      bool
	exports     []string
	tokens      *pricing.Counts // the vendor's, if a usage export has the model
	recorded    map[string]budget.UsageRow
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// cellsOf are the cells of a day under construction, by model and item.
type cellsOf struct {
	day Day
	at  map[[2]string]*cell
}

func (of *cellsOf) get(model, item string) *cell {
	key := [2]string{model, item}
	if of.at[key] == nil {
		of.at[key] = &cell{day: of.day, model: model, item: item}
	}
	return of.at[key]
}

func (of *cellsOf) sorted() []*cell {
	out := make([]*cell, 0, len(of.at))
	for _, at := range of.at {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b *cell) int {
		return cmp.Or(cmp.Compare(boolInt(a.model == ""), boolInt(b.model == "")), // items last
			cmp.Compare(a.model, b.model), cmp.Compare(a.item, b.item))
	})
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (at *cell) add(l line) {
	at.billed.Add(&at.billed, l.cost)
	at.slack += l.slack
	at.from(l.export)
}

func (at *cell) from(e *Export) { at.exports = addOnce(at.exports, e.SHA256) }

func (at *cell) count(n pricing.Counts) {
	if at.tokens == nil {
		at.tokens = &pricing.Counts{}
	}
	t := at.tokens
	t.Input += n.Input
	t.CacheRead += n.CacheRead
	t.CacheWrite += n.CacheWrite
	t.CacheWriteLong += n.CacheWriteLong
	t.InputAudio += n.InputAudio
	t.Output += n.Output
	t.OutputAudio += n.OutputAudio
	t.WebSearches += n.WebSearches
}
