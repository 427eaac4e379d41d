package pricing

import "github.com/go-json-experiment/json"

// messagesUsage is the usage object of Anthropic's Messages API. Its input
// excludes what was read from and written to the cache.
type messagesUsage struct {
	anthropicCounts
	ServerTools *struct {
		Searches *int64 `json:"web_search_requests"`
	} `json:"server_tool_use"`
	Tier       *string     `json:"service_tier"`
	Speed      *string     `json:"speed"`
	Iterations []iteration `json:"iterations"`
	costs
}

type anthropicCounts struct {
	Input    *int64 `json:"input_tokens"`
	Output   *int64 `json:"output_tokens"`
	Read     *int64 `json:"cache_read_input_tokens"`
	Write    *int64 `json:"cache_creation_input_tokens"`
	Creation *struct {
		Short *int64 `json:"ephemeral_5m_input_tokens"`
		Long  *int64 `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
}

// iteration is one model call behind an answer, such as a compaction, which is
// not in the sums at the top.
type iteration struct {
	Model *string `json:"model"`
	anthropicCounts
}

// readMessages merges the first and the last report of a stream, field by
// field: the first has the input and how long cache writes live, the last the
// output.
func readMessages(ev *Evidence, p *pin) (usage, error) {
	var last, first messagesUsage
	if err := json.Unmarshal([]byte(ev.Usage), &last); err != nil {
		return usage{}, errUsage
	}
	if ev.FirstUsage != "" && ev.FirstUsage != "null" {
		if err := json.Unmarshal([]byte(ev.FirstUsage), &first); err != nil {
			return usage{}, errUsage
		}
	}
	var u usage
	if err := u.addAnthropic(p, &u.part, &last.anthropicCounts, &first.anthropicCounts); err != nil {
		return usage{}, err
	}
	if n := len(last.Iterations); n > 0 {
		if err := u.iterations(p, last.Iterations); err != nil {
			return usage{}, err
		}
	}
	// The object is there only when a tool ran.
	u.hasSearches = true
	for _, r := range []*messagesUsage{&first, &last} {
		if t := r.ServerTools; t != nil {
			if value(t.Searches) < 0 || value(t.Searches) > maxCount {
				return usage{}, errUsage
			}
			u.searches = max(u.searches, value(t.Searches))
		}
		if r.Tier != nil {
			u.tier = *r.Tier
		}
		if r.Speed != nil {
			u.speed = *r.Speed
		}
	}
	if p.has(pinCost) {
		u.readCost(&last.costs)
	}
	return u, nil
}

// iterations replaces the sums at the top by those of every model call.
func (u *usage) iterations(p *pin, list []iteration) error {
	const most = 1000
	if len(list) > most {
		return errUsage
	}
	parts := make([]part, len(list))
	for i := range list {
		if err := u.addAnthropic(p, &parts[i], &list[i].anthropicCounts, &anthropicCounts{}); err != nil {
			return err
		}
		if list[i].Model != nil {
			parts[i].model = *list[i].Model
		}
	}
	u.part, u.more = parts[0], parts[1:]
	return nil
}

// addAnthropic fills in one part from two reports of it.
func (u *usage) addAnthropic(p *pin, into *part, a, b *anthropicCounts) error {
	larger := func(x, y *int64) int64 { return max(value(x), value(y)) }
	if a.Input == nil && b.Input == nil || a.Output == nil && b.Output == nil {
		return errUsage
	}
	var short, long int64
	for _, r := range []*anthropicCounts{a, b} {
		if r.Creation != nil {
			short, long = max(short, value(r.Creation.Short)), max(long, value(r.Creation.Long))
		}
		for _, n := range []int64{value(r.Input), value(r.Output), value(r.Read), value(r.Write), short, long} {
			if n < 0 || n > maxCount {
				return errUsage
			}
		}
	}
	in, read, write := larger(a.Input, b.Input), larger(a.Read, b.Read), max(larger(a.Write, b.Write), short+long)
	split := usage{}
	split.setWrites(p, write, short, long)
	into.counts = split.counts
	into.counts[input], into.counts[cacheRead], into.counts[output] = in, read, larger(a.Output, b.Output)
	into.prompt = in + read + write
	return nil
}
