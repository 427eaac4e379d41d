package pricedata

import (
	"fmt"
	"maps"
	"slices"
)

// What the price keys of genai-prices are to us. A key that is in none of these
// may make calls dearer in a way nobody here has thought of.

// genaiRate is the kind of token a key prices; empty: none.
func genaiRate(key string) string {
	switch key {
	case "input_mtok":
		return "input"
	case "cache_read_mtok":
		return "cache_read"
	case "cache_write_mtok":
		return "cache_write"
	case "cache_write_1h_mtok":
		return "cache_write_long"
	case "input_audio_mtok":
		return "input_audio"
	case "input_image_mtok":
		return "input_image"
	case "output_mtok":
		return "output"
	case "output_audio_mtok":
		return "output_audio"
	}
	return ""
}

// genaiFee is the fee a key prices, by the thousand; empty: none.
func genaiFee(key string) string {
	switch key {
	case "web_searches_kcount":
		return "web_search"
	case "storage_searches_kcount":
		return "file_search"
	case "rerank_searches_kcount":
		return "search_unit"
	}
	return ""
}

// genaiCovered are the keys for which our rows have no place, with the kind
// whose price is charged instead: enough if it is not below.
func genaiCovered() map[string]string {
	return map[string]string{
		"cache_audio_read_mtok": "cache_read", "cache_image_read_mtok": "cache_read",
		"output_image_mtok": "output", "output_reasoning_mtok": "output", "output_citation_mtok": "output",
	}
}

// genaiRefused prices what is refused on a budget whatever it costs.
func genaiRefused(key string) bool {
	return slices.Contains([]string{"input_video_mtok", "output_video_mtok", "audio_hours", "input_audio_hours", "output_audio_hours"}, key)
}

// readGenAI reads genai-prices' data.py.
func readGenAI(src []byte) (map[string][]model, error) {
	providers, err := parsePython(src, "providers")
	if err != nil {
		return nil, err
	}
	out := make(map[string][]model)
	for _, p := range providers.items {
		id, err := p.textOf("id")
		if err != nil {
			return nil, fmt.Errorf("a provider: %w", err)
		}
		if _, twice := out[id]; twice || p.text != "Provider" {
			return nil, p.failf("provider %s appears twice, or is a %s", id, p.text)
		}
		models, err := p.listOf("models")
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", id, err)
		}
		out[id] = []model{}
		for i := range models {
			m, err := readGenAIModel(&models[i])
			if err != nil {
				return nil, fmt.Errorf("provider %s: %w", id, err)
			}
			out[id] = append(out[id], m)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it has no providers")
	}
	return out, nil
}

func readGenAIModel(v *value) (model, error) {
	id, err := v.textOf("id")
	if err != nil {
		return model{}, fmt.Errorf("a model: %w", err)
	}
	m := model{id: id, names: exactNames(v.field("match"))}
	m.problem = m.readGenAI(v)
	return m, nil
}

func (m *model) readGenAI(v *value) error {
	if err := v.knows("id", "match", "name", "description", "context_window", "price_comments", "deprecated", "prices", "price_variants"); err != nil {
		return err
	}
	var err error
	if c := v.field("context_window"); c != nil {
		if m.context, err = c.number(); err != nil {
			return fmt.Errorf("context_window: %w", err)
		}
	}
	prices := v.field("prices")
	switch {
	case prices == nil:
		return nil
	case prices.kind == aCall:
		l, err := readGenAIPrices(prices)
		if err != nil {
			return err
		}
		m.lists = []list{l}
	}
	for i := 0; prices.kind == aList && i < len(prices.items); i++ {
		l, err := readConditional(&prices.items[i], "constraint", "prices")
		if err != nil {
			return fmt.Errorf("prices: %w", err)
		}
		m.lists = append(m.lists, l)
	}
	return m.readVariants(v)
}

// readVariants takes service tiers and Anthropic's speed, which our rows hold
// as service tiers too; batches are no calls of ours, and other conditions are
// of providers whose rows have none.
func (m *model) readVariants(v *value) error {
	if v.field("price_variants") == nil {
		return nil
	}
	variants, err := v.listOf("price_variants")
	if err != nil {
		return err
	}
	for i := range variants {
		when := variants[i].field("when")
		if when == nil || when.kind != aDict {
			return variants[i].failf("price_variants: a variant lacks its condition")
		}
		if len(when.keys) != 1 || when.keys[0].text != "service_tier" && when.keys[0].text != "speed" {
			continue
		}
		l, err := readConditional(&variants[i], "constraint", "prices", "when")
		if err != nil {
			return fmt.Errorf("price_variants: %w", err)
		}
		l.name = when.items[0].text
		m.variants = append(m.variants, l)
	}
	return nil
}

func readConditional(v *value, known ...string) (list, error) {
	if err := v.knows(known...); err != nil {
		return list{}, err
	}
	prices := v.field("prices")
	if prices == nil {
		return list{}, v.failf("a %s lacks its prices", v.text)
	}
	l, err := readGenAIPrices(prices)
	if err != nil {
		return l, err
	}
	c := v.field("constraint")
	switch {
	case c == nil:
	case c.text == "StartDateConstraint":
		l.from, err = c.date("start_date")
	case c.text == "TimeOfDateConstraint":
		l.window[0], err = c.clock("start_time")
		if err == nil {
			l.window[1], err = c.clock("end_time")
		}
		if err == nil && !l.windowed() {
			err = c.failf("the window is empty")
		}
	default:
		err = c.failf("the condition %s is not understood", c.text)
	}
	return l, err
}

// readGenAIPrices reads a ModelPrice.
func readGenAIPrices(v *value) (list, error) {
	l := list{fees: map[string]int64{}}
	if v.kind != aCall || v.text != "ModelPrice" || len(v.items) > 0 {
		return l, v.failf("prices are %s, not a ModelPrice", v.kind)
	}
	all := map[string]map[int64]int64{} // kind, or covered key, to prices by the tier's start
	covered := genaiCovered()
	for i := range v.named {
		key, price := v.named[i].name, &v.named[i].value
		if price.kind == aName && price.text == "None" {
			continue
		}
		var err error
		switch {
		case genaiFee(key) != "":
			var fee int64
			fee, err = price.price(1000)
			l.fees[genaiFee(key)] = fee * picoPerMicro
		case genaiRate(key) != "":
			all[genaiRate(key)], err = price.tiered()
		case covered[key] != "":
			all[key], err = price.tiered()
		case genaiRefused(key):
		default:
			l.unknown = key
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", key, err)
		}
	}
	l.setTiers(all)
	return l, nil
}

// setTiers turns prices by kind and start into tiers.
func (l *list) setTiers(all map[string]map[int64]int64) {
	starts := map[int64]bool{}
	for _, prices := range all {
		for from := range prices {
			starts[from] = true
		}
	}
	for _, from := range slices.Sorted(maps.Keys(starts)) {
		t := tier{from, map[string]int64{}}
		for _, kind := range slices.Sorted(maps.Keys(all)) {
			best := int64(-1)
			for start, price := range all[kind] {
				if start <= from && start > best {
					best, t.rates[kind] = start, price
				}
			}
		}
		for key, kind := range genaiCovered() {
			price, ok := t.rates[key]
			delete(t.rates, key)
			switch {
			case !ok || price <= t.price(kind):
			case key == "cache_audio_read_mtok":
				l.audioReads = true
			case l.unknown == "" || key < l.unknown:
				l.unknown = key
			}
		}
		l.tiers = append(l.tiers, t)
	}
}

// exactNames are the names a model has that are written out in its match.
func exactNames(match *value) []string {
	if match == nil {
		return nil
	}
	switch match.text {
	case "ClauseEquals":
		if name := match.field("equals"); name != nil && name.kind == aString {
			return []string{name.text}
		}
	case "ClauseOr":
		var names []string
		if any := match.field("or_"); any != nil {
			for i := range any.items {
				names = append(names, exactNames(&any.items[i])...)
			}
		}
		return names
	}
	return nil
}
