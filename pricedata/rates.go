package pricedata

import (
	"maps"
	"slices"

	"aigateway/pricing"
)

// tier is the prices that hold from a number of input tokens on, inclusive.
type tier struct {
	from  int64
	rates map[string]int64 // kind to pico-USD per token
}

// price is a kind's own price, else its parent's.
func (t tier) price(kind string) int64 {
	if v, ok := t.rates[kind]; ok {
		return v
	}
	return t.rates[pricing.Parent(kind)]
}

// tiersOf groups rates by tier, ascending; there is always one from 0.
func tiersOf(rates []pricing.Rate) []tier {
	byStart := map[int64]map[string]int64{0: {}}
	for _, r := range rates {
		if byStart[r.FromTokens] == nil {
			byStart[r.FromTokens] = map[string]int64{}
		}
		byStart[r.FromTokens][r.Kind] = r.PicoPerToken
	}
	var out []tier
	for _, from := range slices.Sorted(maps.Keys(byStart)) {
		out = append(out, tier{from, byStart[from]})
	}
	return out
}

func ratesOf(tiers []tier) []pricing.Rate {
	var out []pricing.Rate
	for _, t := range tiers {
		for _, kind := range pricing.Kinds() {
			if v, ok := t.rates[kind]; ok {
				out = append(out, pricing.Rate{Kind: kind, FromTokens: t.from, PicoPerToken: v})
			}
		}
	}
	return out
}

// at is the tier of a request with that much input.
func at(tiers []tier, tokens int64) tier {
	i := len(tiers) - 1
	for i > 0 && tiers[i].from > tokens {
		i--
	}
	return tiers[i]
}
