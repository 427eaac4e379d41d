package pricedata

import (
	"slices"
	"strconv"
	"time"
)

// knows refuses keyword arguments that are not listed: they may change what
// the others mean.
func (v *value) knows(names ...string) error {
	for _, n := range v.named {
		if !slices.Contains(names, n.name) {
			return n.value.failf("%s has the unknown field %s", v.text, n.name)
		}
	}
	return nil
}

func (v *value) textOf(name string) (string, error) {
	f := v.field(name)
	if f == nil || f.kind != aString || f.text == "" {
		return "", v.failf("%s has no %s", v.text, name)
	}
	return f.text, nil
}

func (v *value) listOf(name string) ([]value, error) {
	f := v.field(name)
	if f == nil || f.kind != aList {
		return nil, v.failf("%s has no list of %s", v.text, name)
	}
	return f.items, nil
}

func (v *value) number() (int64, error) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	if v.kind != aNumber || err != nil || n > 1_000_000_000 {
		return 0, v.failf("%.40q is no number of tokens", v.text)
	}
	return n, nil
}

// price reads Decimal('0.25').
func (v *value) price(per int64) (int64, error) {
	if v.kind != aCall || v.text != "Decimal" || len(v.items) != 1 || v.items[0].kind != aString {
		return 0, v.failf("%s is no price; want a Decimal", v.kind)
	}
	n, err := micro(v.items[0].text, per)
	if err != nil {
		return 0, v.failf("%w", err)
	}
	return n, nil
}

// tiered reads a price, or TieredPrices(base=…, tiers=[Tier(start=…, price=…)]),
// by the number of input tokens from which it holds. A start is the last token
// of the cheaper tier.
func (v *value) tiered() (map[int64]int64, error) {
	if v.text != "TieredPrices" {
		n, err := v.price(1)
		return map[int64]int64{0: n}, err
	}
	base := v.field("base")
	if base == nil {
		return nil, v.failf("TieredPrices has no base")
	}
	n, err := base.price(1)
	if err != nil {
		return nil, err
	}
	out := map[int64]int64{0: n}
	tiers, err := v.listOf("tiers")
	if err != nil {
		return nil, err
	}
	for i := range tiers {
		start, price := tiers[i].field("start"), tiers[i].field("price")
		if start == nil || price == nil {
			return nil, tiers[i].failf("a tier lacks its start or price")
		}
		from, err := start.number()
		if err != nil {
			return nil, err
		}
		if out[from+1], err = price.price(1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// date reads datetime.date(2026, 11, 4).
func (v *value) date(name string) (time.Time, error) {
	f := v.field(name)
	if f == nil || f.text != "datetime.date" || len(f.items) != 3 {
		return time.Time{}, v.failf("%s has no %s", v.text, name)
	}
	var parts [3]int
	for i, item := range f.items {
		n, err := item.number()
		if err != nil {
			return time.Time{}, f.failf("%s is no date", name)
		}
		parts[i] = int(n)
	}
	t := time.Date(parts[0], time.Month(parts[1]), parts[2], 0, 0, 0, 0, time.UTC)
	if t.Year() != parts[0] || t.Year() > 9999 || int(t.Month()) != parts[1] || t.Day() != parts[2] {
		return time.Time{}, f.failf("%s is no date", name)
	}
	return t, nil
}

// clock reads datetime.time(1, 30, tzinfo=datetime.timezone.utc) as minutes.
func (v *value) clock(name string) (int, error) {
	f := v.field(name)
	if f == nil || f.text != "datetime.time" || len(f.items) != 2 {
		return 0, v.failf("%s has no %s in hours and minutes", v.text, name)
	}
	if zone := f.field("tzinfo"); zone == nil || zone.text != "datetime.UTC" && zone.text != "datetime.timezone.utc" {
		return 0, f.failf("%s is not in UTC", name)
	}
	hour, herr := strconv.Atoi(f.items[0].text)
	minute, merr := strconv.Atoi(f.items[1].text)
	if herr != nil || merr != nil || hour > 23 || minute > 59 {
		return 0, f.failf("%s is no time of day", name)
	}
	return hour*60 + minute, nil
}
