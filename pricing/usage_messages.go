package pricing

import (
	"cmp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// messagesUsage is the usage object of Anthropic's Messages API. Its input
// excludes what was read from and written to the cache.
type messagesUsage struct {
	anthropicCounts
	Tier, Speed, Geo string
	Iterations       []iteration
	tools            toolUses
	costs            costs
}

type anthropicCounts struct {
	Input, Output, Read, Write *int64
	Creation                   *struct{ Short, Long *int64 }
}

// iteration is one model call behind an answer, such as a compaction, which is
// not in the sums at the top.
type iteration struct {
	Model *string
	anthropicCounts
}

// messagesReport is that object as it is written, in OpenAI's spelling too.
type messagesReport struct {
	messagesCounts
	toolUses
	costs
	Tier       word           `json:"service_tier"`
	Speed      word           `json:"speed"`
	Geo        word           `json:"inference_geo"`
	Iterations jsontext.Value `json:"iterations"`
}

type messagesCounts struct {
	Input      tally                `json:"input_tokens"`
	Prompt     tally                `json:"prompt_tokens"`
	Output     tally                `json:"output_tokens"`
	Completion tally                `json:"completion_tokens"`
	Read       tally                `json:"cache_read_input_tokens"`
	Write      tally                `json:"cache_creation_input_tokens"`
	Creation   group[cacheCreation] `json:"cache_creation"`
}

// parseMessages reads one report.
func parseMessages(raw string, into *messagesUsage) error {
	var r messagesReport
	if err := readReport(raw, &r); err != nil {
		return err
	}
	into.Tier, into.Speed, into.Geo = string(r.Tier), string(r.Speed), string(r.Geo)
	into.tools, into.costs = r.toolUses, r.costs
	var err error
	if into.anthropicCounts, err = r.counts(); err != nil {
		return err
	}
	into.Iterations, err = parseIterations(r.Iterations)
	return err
}

// counts are the numbers there are. OpenAI's name for the input includes the
// cache.
func (r *messagesCounts) counts() (anthropicCounts, error) {
	split := &r.Creation.v
	bad := r.Creation.bad || split.Short.bad || split.Long.bad
	if bad && r.Write.set { // how long they live is not told, as without a split
		*split, bad = cacheCreation{}, false
	}
	bad = bad || split.others() && !r.Write.set
	if bad || r.Input.bad || r.Prompt.bad || r.Output.bad || r.Completion.bad || r.Read.bad || r.Write.bad {
		return anthropicCounts{}, errUsage
	}
	out := largest(&r.Output, &r.Completion)
	in := r.Input
	if r.Prompt.set {
		in.n, in.set = max(in.n, r.Prompt.n-r.Read.n-max(r.Write.n, split.Short.n+split.Long.n), 0), true
	}
	c := anthropicCounts{Input: in.pointer(), Output: out.pointer(), Read: r.Read.pointer(), Write: r.Write.pointer()}
	if split.Short.set || split.Long.set {
		c.Creation = &struct{ Short, Long *int64 }{split.Short.pointer(), split.Long.pointer()}
	}
	return c, nil
}

// parseIterations reads the list; something empty in its place is none.
func parseIterations(raw jsontext.Value) ([]iteration, error) {
	switch string(raw) {
	case "", "{}", `""`:
		return nil, nil
	}
	var list []struct {
		Model word `json:"model"`
		messagesCounts
	}
	if json.Unmarshal(raw, &list, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return nil, errUsage
	}
	out := make([]iteration, len(list))
	for i := range list {
		c, err := list[i].counts()
		if err != nil {
			return nil, err
		}
		out[i].anthropicCounts = c
		if name := string(list[i].Model); name != "" {
			out[i].Model = &name
		}
	}
	return out, nil
}

// readMessages merges the first report of a stream and a later one, field by
// field: the first has the input and how long cache writes live, the later the
// output. A later one that names its input has the last word on that.
func readMessages(ev *Evidence, p *pin) (usage, error) {
	var last, first messagesUsage
	if err := parseMessages(ev.Usage, &last); err != nil {
		return usage{}, errUsage
	}
	if ev.FirstUsage != "" {
		if err := parseMessages(ev.FirstUsage, &first); err != nil {
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
	u.tools[webSearch].told, u.tools[webFetch].told = true, true
	for _, r := range []*messagesUsage{&first, &last} {
		u.takeTools(&r.tools)
		u.tier, u.speed, u.geo = cmp.Or(r.Tier, u.tier), cmp.Or(r.Speed, u.speed), cmp.Or(r.Geo, u.geo)
	}
	if p.has(pinCost) {
		u.readCost(&last.costs)
	}
	return u, nil
}

// iterations replaces the sums at the top by those of every model call. What they
// lack of the sums counts beside them.
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
	rest := part{prompt: u.prompt}
	in, out := u.prompt, u.output()
	for i := range parts {
		in, out = in-parts[i].prompt, out-parts[i].output()
	}
	if in > 0 || out > 0 {
		u.inconsistent = true
		rest.counts[input], rest.counts[output] = max(in, 0), max(out, 0)
		parts = append(parts, rest)
	}
	u.part, u.more = parts[0], parts[1:]
	return nil
}

// addAnthropic fills in one part from two reports of it, of which a is the later.
func (u *usage) addAnthropic(p *pin, into *part, a, b *anthropicCounts) error {
	b = b.before(a)
	larger := func(x, y *int64) int64 { return max(value(x), value(y)) }
	if a.Input == nil && b.Input == nil || a.Output == nil && b.Output == nil {
		return errUsage
	}
	short, long := a.written()
	own := short+long > 0 // else how long writes live is the earlier report's
	if !own {
		short, long = b.written()
	}
	in, read, write := larger(a.Input, b.Input), larger(a.Read, b.Read), larger(a.Write, b.Write)
	if a.Write != nil && value(a.Input) > 0 && !own {
		write = *a.Write
		long = min(long, write)
		short = min(short, write-long)
	}
	write = max(write, short+long)
	split := usage{}
	split.setWrites(p, write, short, long)
	into.counts = split.counts
	into.counts[input], into.counts[cacheRead], into.counts[output] = in, read, larger(a.Output, b.Output)
	into.prompt = in + read + write
	return nil
}

// written is what was written to the cache for a short and for a long time.
func (c *anthropicCounts) written() (short, long int64) {
	if c.Creation == nil {
		return 0, 0
	}
	return value(c.Creation.Short), value(c.Creation.Long)
}

// namesInput reports whether a report has the last word on the input.
func namesInput(raw string) bool {
	var r messagesUsage
	return parseMessages(raw, &r) == nil && (value(r.Input) > 0 || r.allCached())
}

// allCached reports whether all input was read from or written to the cache: zeros
// in every place say nothing.
func (c *anthropicCounts) allCached() bool {
	return c.Input != nil && *c.Input == 0 && value(c.Read)+c.write() > 0
}

// write is all that was written to the cache.
func (c *anthropicCounts) write() int64 {
	short, long := c.written()
	return max(value(c.Write), short+long)
}

// before is what remains of an earlier report beside a later one. Some count the
// whole input in message_start, and split it into cached and plain in
// message_delta: together they would count it twice.
func (b *anthropicCounts) before(a *anthropicCounts) *anthropicCounts {
	if value(a.Input) <= 0 && !a.allCached() {
		return b
	}
	rest := *b
	rest.Input = nil
	if a.Read != nil {
		rest.Read = nil
	}
	if a.Write != nil {
		rest.Write = nil
	}
	if a.allCached() { // what its parts do not have was not cached
		n := value(b.Input) + value(b.Read) + b.write() - max(value(a.Read), value(rest.Read)) - max(a.write(), rest.write())
		rest.Input = &n // below none where they have more
	}
	return &rest
}
