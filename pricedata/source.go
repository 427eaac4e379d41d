package pricedata

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// Source is one published package, read.
type Source struct {
	Name, Version string    // such as genai-prices 0.2.3
	Date          time.Time // day its data is of
	SHA256        string    // of the package

	models map[string][]model // by the source's name of the provider
	second bool               // its prices count only for a model that is added
	// roughTiers says that its tiers may start too low.
	roughTiers bool
}

// String is how rows name the source.
func (s *Source) String() string { return s.Name + " " + s.Version }

// Models is how many models it knows.
func (s *Source) Models() int {
	n := 0
	for _, list := range s.models {
		n += len(list)
	}
	return n
}

// model is what a source says about a model of a provider.
type model struct {
	id                 string
	names              []string // other exact names
	context, maxOutput int64    // 0: it does not say
	mode               string   // what it does, such as embedding; empty: it does not say
	lists              []list   // the last in force holds
	variants           []list   // of service tiers, likewise
	// problem is why its prices cannot be read; the names and limits can.
	problem error
}

// list is a price list with its conditions.
type list struct {
	from   time.Time // zero: always
	window [2]int    // minutes of a UTC day; equal: the whole day
	name   string    // of a variant: the service tier
	tiers  []tier    // empty: it has no prices
	fees   map[string]int64
	// unknown is a price our rows cannot hold and that could make a call
	// dearer; such a model is left alone. audioReads says the same of audio that
	// is read from the cache, which matters where audio is let in.
	unknown    string
	audioReads bool
}

func (l *list) windowed() bool { return l.window[0] != l.window[1] }

// vendorNames are what sources may call a provider of ours.
func vendorNames(provider string) []string {
	return append(pricing.VendorNames(provider), provider)
}

// find returns what the source says about a model of ours: by the name the
// provider is sent, which is the one vendors publish, else by the slug's own.
// Names are compared whole; nearly the same name is another model.
func (s *Source) find(slug, upstream string) *model {
	provider, name, _ := strings.Cut(slug, "/")
	for _, p := range vendorNames(provider) {
		list := s.models[p]
		for _, want := range []string{upstream, name} {
			for i := range list {
				if list[i].id == want {
					return &list[i]
				}
			}
			for i := range list {
				if slices.Contains(list[i].names, want) {
					return &list[i]
				}
			}
		}
	}
	return nil
}

// maxMicro is a million dollars, far above any price and a fee that fits.
const maxMicro = 1_000_000_000_000

// micro reads a decimal number of dollars, divided by per, as millionths,
// exactly; what is below one is rounded up.
func micro(text string, per int64) (int64, error) {
	r, err := budget.ParseNumber(text, 99)
	if err != nil || r.Sign() < 0 {
		return 0, fmt.Errorf("%.40q is no price", text)
	}
	up, ok := budget.RoundUp(r.Quo(r, big.NewRat(per, 1)), 1_000_000)
	if !ok || up > maxMicro {
		return 0, fmt.Errorf("%.40q is no price: it is too large", text)
	}
	return up, nil
}
