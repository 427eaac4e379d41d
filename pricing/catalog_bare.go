package pricing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Clients send names as their vendors publish them, without a provider: gpt-5.5,
// claude-sonnet-4-5. Such a name is that of the one provider that has it, or, of
// several, of the first in the operator's order.

// qualify is the slug of a name without a provider. The error is a *budget.Error.
func (c *Catalog) qualify(name string) (string, error) {
	var having []string
	first := provider{}
	for _, u := range c.providers {
		if e, _ := c.names.find(u.Provider+"/"+name, false); e == nil {
			continue
		}
		having = append(having, u.Provider+"/"+name)
		if u.Order > 0 && (first.Order == 0 || u.Order < first.Order) {
			first = u
		}
	}
	switch {
	case len(having) == 1:
		return having[0], nil
	case first.Order > 0:
		return first.Provider + "/" + name, nil
	case len(having) > 1:
		slices.Sort(having)
		return "", notFound("model_ambiguous", fmt.Sprintf("model is %q, which several providers have; write %s, or let the operator set provider_order", clip(name), strings.Join(having, " or ")))
	}
	return "", notFound("model_unknown", fmt.Sprintf("model is %q; write provider/model, such as openai/gpt-5.4-mini, and see GET /v1/models%s", clip(name), c.nearest("", name)))
}

// mostNearest is how many models a refusal lists, and nearestLength how much of a
// name is compared.
const (
	mostNearest   = 3
	nearestLength = 64
)

// nearest lists the models whose names are most like one that nobody has, of one
// provider or, if it is empty, of all that are configured; empty: none is.
func (c *Catalog) nearest(of, name string) string {
	type candidate struct {
		slug     string
		distance int
	}
	wanted := strings.ToLower(spelling("/" + name)[1:])
	wanted = wanted[:min(len(wanted), nearestLength)]
	var near []candidate
	for _, slug := range c.slugs {
		p, own, _ := strings.Cut(slug, "/")
		if _, ok := c.providers[p]; !ok || of != "" && p != of {
			continue
		}
		own = spelling("/" + own)[1:]
		if d := likeness(wanted, own[:min(len(own), nearestLength)]); d >= 0 {
			near = append(near, candidate{slug, d})
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.slug, b.slug))
	})
	names := make([]string, 0, mostNearest)
	for _, n := range near[:min(len(near), mostNearest)] {
		names = append(names, n.slug)
	}
	return "; the nearest here: " + strings.Join(names, ", ")
}

// likeness is how many bytes differ between two names, at most a quarter of them;
// -1: more do. A name that begins like the other is near.
func likeness(a, b string) int {
	limit := min(len(a)/4+1, 4)
	switch {
	case a == "":
		return -1
	case len(a) >= 4 && strings.HasPrefix(b, a):
		return min(1, len(b)-len(a))
	case len(a)-len(b) > limit || len(b)-len(a) > limit:
		return -1
	}
	var row [nearestLength + 1]int // of Levenshtein's table
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d = 1 + min(d, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], d
			least = min(least, d)
		}
		if least > limit {
			return -1
		}
	}
	if row[len(b)] > limit {
		return -1
	}
	return row[len(b)]
}
