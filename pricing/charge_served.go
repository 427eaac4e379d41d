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
		provider, own, _ := strings.Cut(asked, "/")
		mine, _ := c.names.find(asked, false)
		e, _ := c.names.find(provider+"/"+name, true)
		if mine != nil && mine.like != "" { // a deployment may answer by its model's name
			vendor, _, _ := strings.Cut(mine.like, "/")
			if liked, _ := c.names.find(vendor+"/"+name, true); e == nil || liked != nil && liked.slug == mine.like {
				e = liked
			}
		}
		switch {
		case e != nil && mine != nil && e.slug == mine.like:
			return Served{Same: true}
		case e == nil && sameModel(name, own), e != nil && mine != nil && e.upstreamModel == mine.upstreamModel:
			return Served{Same: true}
		case e == nil:
			return Served{}
		}
		row := e.rowAt(at)
		if row == nil {
			return Served{}
		}
		return Served{Slug: e.slug, Row: row, peak: dearestPeak(row.rules.peaks, at, at.Add(c.longest))}
	}
}
