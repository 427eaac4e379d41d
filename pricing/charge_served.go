package pricing

import (
	"strings"
	"time"
)

// Served is the model behind a name in a provider's answer.
type Served struct {
	Same bool   // it is the model that was asked for
	Slug string // of another model, which is known
	Row  *Row   // its price; nil: unknown

	peak ratio // of the dearest hour that the call can reach
}

// Lookup finds a served model by the name in the answer.
type Lookup func(name string) Served

// Served looks for models that answer in place of the asked one, which is given
// by its slug: providers may fall back to another model of theirs, and bill it.
// at decides the price list.
func (c *Catalog) Served(asked string, at time.Time) Lookup {
	return func(name string) Served {
		name = strings.TrimPrefix(name, "models/")
		provider, own, _ := strings.Cut(asked, "/")
		m, err := c.Resolve(asked, at)
		if err == nil && m.Row != nil && sameModel(name, m.UpstreamModel) || sameModel(name, own) {
			return Served{Same: true}
		}
		e := c.byUpstream[provider+"/"+name]
		if e == nil {
			if base, ok := cutDate(provider + "/" + name); ok {
				e = c.byUpstream[base]
			}
		}
		if e == nil {
			return Served{}
		}
		if err == nil && e.slug == m.Slug {
			return Served{Same: true}
		}
		row := e.rowAt(at)
		if row == nil {
			return Served{}
		}
		return Served{Slug: e.slug, Row: row, peak: dearestPeak(row.rules.peaks, at, at.Add(c.longest))}
	}
}

// sameModel compares names without their versions.
func sameModel(a, b string) bool {
	if a == b {
		return true
	}
	if base, ok := cutDate(a); ok {
		a = base
	}
	if base, ok := cutDate(b); ok {
		b = base
	}
	return a == b
}
