package pricing

import (
	"fmt"
	"slices"
)

// bucket is a kind of token with a price of its own. The buckets of a call are
// disjoint.
type bucket uint8

const (
	input bucket = iota
	cacheRead
	cacheWrite
	cacheWriteLong
	inputAudio
	inputImage
	output
	outputAudio
	outputImage // numbers stand in pins: they never change
	bucketCount
)

// names are the catalog's keys, in the order of the buckets.
func bucketNames() [bucketCount]string {
	return [bucketCount]string{"input", "cache_read", "cache_write", "cache_write_long", "input_audio", "input_image", "output", "output_audio", "output_image"}
}

func (b bucket) String() string { return bucketNames()[b] }

// parent is the bucket whose price one without its own takes.
func (b bucket) parent() bucket {
	if b >= output {
		return output
	}
	return input
}

// rates are prices in pico-USD per token that hold from a number of input
// tokens on. They reprice the whole request.
type rates struct {
	from int64 // inclusive
	has  uint16
	pico [bucketCount]int64
}

func (r *rates) set(b bucket, pico int64) { r.has |= 1 << b; r.pico[b] = pico }

func (r *rates) priced(b bucket) bool { return r.has&(1<<b) != 0 }

// price is b's own price, else its parent's.
func (r *rates) price(b bucket) int64 {
	if r.priced(b) {
		return r.pico[b]
	}
	return r.pico[b.parent()]
}

// written is the price of a token of b that may be written to the cache. A write
// below the input's price is what keeping it costs, on top of that: Gemini's on
// OpenRouter, whose 0.375 are five minutes at $4.50 an hour.
// https://openrouter.ai/docs/features/prompt-caching
func (r *rates) written(b bucket) int64 {
	p := r.price(b)
	if (b == cacheWrite || b == cacheWriteLong) && p < r.price(input) {
		p += r.price(input)
	}
	return p
}

// free reports whether every token costs nothing.
func (r *Row) free() bool {
	return !slices.ContainsFunc(r.tiers, func(t rates) bool { return t.pico != [bucketCount]int64{} })
}

// at picks the rates for a request with that much input; tiers must not be empty.
func at(tiers []rates, tokens int64) *rates {
	i := len(tiers) - 1
	for i > 0 && tiers[i].from > tokens {
		i--
	}
	return &tiers[i]
}

// checkTiers refuses what would make the bound unsound: prices that fall as
// the input grows, and tiers that lack a price the base has.
func checkTiers(tiers []rates) error {
	for b := range bucketCount {
		if (b == input || b == output) && !tiers[0].priced(b) {
			return fmt.Errorf("no %s price; write %s: \"0\" if it is free", b, b)
		}
	}
	for i := 1; i < len(tiers); i++ {
		low, high := &tiers[i-1], &tiers[i]
		if high.from <= low.from {
			return fmt.Errorf("the tier from %d does not start above the one from %d; sort tiers by from", high.from, low.from)
		}
		for b := range bucketCount {
			switch {
			case low.priced(b) != high.priced(b):
				return fmt.Errorf("%s has a price in some tiers and none in others; give it one in each", b)
			case high.pico[b] < low.pico[b]:
				return fmt.Errorf("the %s price falls from the tier at %d to the tier at %d input tokens; it must not fall, or a bound taken at the top would be too low", b, low.from, high.from)
			}
		}
	}
	return nil
}

// dearer merges two price lists into one that is at least as dear as either
// for every request: for calls that may end after a price change.
func dearer(a, b []rates) []rates {
	var starts []int64
	for _, r := range slices.Concat(a, b) {
		starts = append(starts, r.from)
	}
	slices.Sort(starts)
	var out []rates
	for _, from := range slices.Compact(starts) {
		x, y := at(a, from), at(b, from)
		m := rates{from: from}
		for k := range bucketCount {
			if x.priced(k) || y.priced(k) {
				m.set(k, max(x.price(k), y.price(k)))
			}
		}
		out = append(out, m)
	}
	return out
}
