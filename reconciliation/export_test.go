package reconciliation

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"aigateway/budget"
)

// Dump writes what was read, a line for each bucket and item.
func (e *Export) Dump() string {
	var b strings.Builder
	for _, k := range e.buckets {
		fmt.Fprintf(&b, "%s %s %s\n", k.report, k.start.Format(time.RFC3339), k.end.Sub(k.start))
		for _, it := range k.items {
			name := it.model
			if name == "" {
				name = "(" + it.label + ")"
			}
			fmt.Fprintf(&b, "  %s %v", name, it.owners)
			if it.cost != nil {
				fmt.Fprintf(&b, " $%s", strings.TrimRight(it.cost.FloatString(20), "0"))
			} else {
				fmt.Fprintf(&b, " %d calls %+v %s", it.requests, it.counts, it.inexact)
			}
			b.WriteString("\n")
		}
	}
	if e.More {
		b.WriteString("more\n")
	}
	return b.String()
}

// Billed is the exact sum of an export's amounts, and how many there are.
func (e *Export) Billed() (*big.Rat, int) {
	sum, n := new(big.Rat), 0
	for _, k := range e.buckets {
		for _, it := range k.items {
			if it.cost != nil {
				sum.Add(sum, it.cost)
				n++
			}
		}
	}
	return sum, n
}

// Doors to the arithmetic.
var (
	ParseDecimal  = parseDecimal
	SplitLineItem = splitLineItem
	Split         = split
	Nearest       = nearest
)

// RoundAll rounds amounts as the rows of a report are.
func RoundAll(exact []*big.Rat) []budget.Amount {
	var r rounder
	out := make([]budget.Amount, len(exact))
	for i, x := range exact {
		out[i], _ = r.next(x)
	}
	return out
}
