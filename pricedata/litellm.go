package pricedata

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What the price keys of LiteLLM's list are to us, in dollars per token.

// litellmRates are the kinds of token that keys price; those in covered have no
// place in our rows, and the kind whose price is charged instead.
func litellmRates() (rates, covered map[string]string) {
	return map[string]string{
			"input_cost_per_token": "input", "output_cost_per_token": "output",
			"cache_read_input_token_cost": "cache_read", "cache_creation_input_token_cost": "cache_write",
			"cache_creation_input_token_cost_above_1hr": "cache_write_long", "cache_creation_input_token_cost_above_12hr": "cache_write_long",
			"input_cost_per_audio_token": "input_audio", "input_cost_per_image_token": "input_image", "output_cost_per_audio_token": "output_audio",
		}, map[string]string{
			"cache_read_input_audio_token_cost": "cache_read", "cache_read_input_image_token_cost": "cache_read",
			"output_cost_per_image_token": "output", "output_cost_per_reasoning_token": "output",
		}
}

// litellmElsewhere reports keys that price what is refused on a budget whatever
// it costs, tools that a row prices by its own fees, and names for what another
// key says.
func litellmElsewhere(key string) bool {
	for _, part := range []string{"video", "batches", "balanced", "decisions", "google_maps", "file_search", "vector_store", "code_interpreter", "computer_use", "token_cache_hit", "cache_creation_input_audio"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

// readLiteLLM reads model_prices_and_context_window_backup.json. What is no model
// that answers with text, vectors or ranks has no prices here.
func readLiteLLM(src []byte) (map[string][]model, error) {
	var all map[string]map[string]jsontext.Value
	if err := json.Unmarshal(src, &all); err != nil {
		return nil, err
	}
	out := make(map[string][]model)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		v := all[key]
		var provider, mode string
		if key == "sample_spec" || json.Unmarshal(v["litellm_provider"], &provider) != nil || provider == "" {
			continue
		}
		_ = json.Unmarshal(v["mode"], &mode) // of a model without one nothing is known
		m := model{id: strings.TrimPrefix(key, provider+"/")}
		m.problem = m.readLiteLLM(v, mode)
		out[provider] = append(out[provider], m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it has no models")
	}
	return out, nil
}

func (m *model) readLiteLLM(v map[string]jsontext.Value, mode string) error {
	for name, into := range map[string]*int64{"max_input_tokens": &m.context, "max_output_tokens": &m.maxOutput} {
		if n, err := strconv.ParseFloat(string(v[name]), 64); err == nil && n > 0 && n <= 1_000_000_000 {
			*into = int64(n)
		}
	}
	m.mode = mode
	switch mode {
	case "chat", "completion", "responses", "embedding", "rerank":
	default:
		return nil
	}
	base := list{fees: map[string]int64{}}
	prices := map[string]map[string]map[int64]int64{} // service tier, kind, start
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if err := base.readLiteLLM(key, v[key], prices); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	base.setTiers(prices[""])
	if len(base.tiers) == 0 {
		return nil
	}
	m.lists = []list{base}
	for _, tier := range slices.Sorted(maps.Keys(prices)) {
		if tier != "" {
			l := list{name: tier}
			l.setTiers(prices[tier])
			m.variants = append(m.variants, l)
		}
	}
	return nil
}

// readLiteLLM takes one member of a model.
func (l *list) readLiteLLM(key string, value jsontext.Value, prices map[string]map[string]map[int64]int64) error {
	if !strings.Contains(key, "cost") || string(value) == "null" || litellmElsewhere(key) {
		return nil
	}
	switch key {
	case "search_context_cost_per_query":
		var sizes map[string]jsontext.Value
		if err := json.Unmarshal(value, &sizes); err != nil {
			return err
		}
		for _, size := range sizes {
			fee, err := dollars(size, 1)
			if err != nil {
				return err
			}
			l.fees["web_search"] = max(l.fees["web_search"], fee*picoPerMicro)
		}
		return nil
	case "input_cost_per_query":
		fee, err := dollars(value, 1)
		l.fees["search_unit"] = fee * picoPerMicro
		return err
	}
	rates, covered := litellmRates()
	name, tier, from := litellmKey(key)
	kind := rates[name]
	if kind == "" && covered[name] != "" {
		kind = map[string]string{
			"cache_read_input_audio_token_cost": "cache_audio_read_mtok", "cache_read_input_image_token_cost": "cache_image_read_mtok",
			"output_cost_per_image_token": "output_image_mtok", "output_cost_per_reasoning_token": "output_reasoning_mtok",
		}[name]
	}
	price, err := dollars(value, 1_000_000)
	if err != nil {
		return err
	}
	switch {
	case kind == "" && price > 0:
		l.unknown = key
		return nil
	case kind == "", price == 0 && strings.HasPrefix(kind, "cache_"): // which stands for nothing said
		return nil
	}
	if prices[tier] == nil {
		prices[tier] = map[string]map[int64]int64{}
	}
	if prices[tier][kind] == nil {
		prices[tier][kind] = map[int64]int64{}
	}
	prices[tier][kind][from] = max(prices[tier][kind][from], price)
	return nil
}

// litellmKey takes a key apart: input_cost_per_token_above_200k_tokens_priority.
func litellmKey(key string) (name, serviceTier string, from int64) {
	for _, t := range []string{"priority", "flex", "ultrafast"} {
		if rest, ok := strings.CutSuffix(key, "_"+t); ok {
			key, serviceTier = rest, t
		}
	}
	if i := strings.LastIndex(key, "_above_"); i > 0 {
		if k, ok := strings.CutSuffix(key[i+len("_above_"):], "k_tokens"); ok {
			if n, err := strconv.ParseInt(k, 10, 32); err == nil {
				return key[:i], serviceTier, n*1000 + 1
			}
		}
	}
	return key, serviceTier, 0
}

// dollars reads a binary fraction as millionths, times a number: twelve digits
// are more than a price has, and what comes after them is the fraction's.
func dollars(value jsontext.Value, times float64) (int64, error) {
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f < 0 {
		return 0, fmt.Errorf("%.40q is no price", string(value))
	}
	return micro(strconv.FormatFloat(f*times, 'g', 12, 64), 1)
}
