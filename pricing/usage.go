package pricing

import (
	"errors"
	"slices"
	"sync"

	"aigateway/budget"

	"github.com/go-json-experiment/json/jsontext"
)

// usage is a provider's report, normalised: the buckets are disjoint.
type usage struct {
	part
	more         []part // Anthropic: what else models did for this call
	cost         budget.Amount
	hasCost      bool            // the provider named the billed amount
	tools        [toolKinds]uses // how often hosted tools ran
	units        int64           // search units of a reranker
	seconds      uses            // of audio
	tier         string          // service tier named inside the report
	speed        string          // Anthropic: fast or standard
	geo          string          // Anthropic: where the model ran
	inconsistent bool            // parts were larger than their whole
	unpriced     bool            // it reports something that has no price
}

// part is what one model used.
type part struct {
	model  string // as served; empty: the one of the answer
	counts [bucketCount]int64
	prompt int64 // all input, for the price tier
}

var errUsage = errors.New("malformed usage")

// read normalises the report in ev by the pin's dialect.
func (p *pin) read(ev *Evidence) (usage, error) {
	switch p.dialect() {
	case openAIChat, openRouter:
		return readChat(ev.Usage, p, false)
	case openAIResponses:
		return readResponses(ev, p)
	case anthropicMessages:
		return readMessages(ev, p)
	case cohereRerank:
		return readSearchUnits(ev.Usage)
	case tokensRerank:
		return readRankTokens(ev.Usage)
	case custom:
		return readCustom(ev.Usage, p)
	case openAIMedia:
		return readMedia(ev.Usage, p)
	}
	return usage{}, errUsage // a newer version's pin
}

// counts is what the OpenAI family reports. Details are subsets of their totals.
type counts struct {
	prompt, completion, total            tally
	cached, write, writeShort, writeLong tally // write includes the other two, and is bad where one is
	audioIn, imageIn, audioOut, imageOut tally
	textIn, textOut                      tally
	reasoning                            tally // a part of completion, unless it is more
	cacheOutside                         bool  // prompt excludes cached and write
}

// normalise makes the buckets disjoint. Output outside completion_tokens
// (Gemini's thoughts, xAI's reasoning) is found in the total; where there is no
// output, the total is input. Audio and images move out of the input only where
// p prices them separately.
func (c *counts) normalise(p *pin) (usage, error) {
	var u usage
	in := c.prompt
	if p.has(pinNoOutput) {
		in = largest(&c.prompt, &c.total)
	}
	if !in.set || !c.completion.set && !c.total.set && !p.has(pinNoOutput) || in.bad || c.completion.bad || c.total.bad {
		return usage{}, errUsage
	}
	prompt, cached, write := c.prompt.n, c.cached.value(), c.write.value()
	if c.cacheOutside {
		prompt += cached + write
	} else {
		prompt = u.whole(prompt, cached+write)
	}
	prompt = u.whole(prompt, c.audioIn.value()+c.imageIn.value())
	if p.has(pinNoOutput) {
		prompt = max(prompt, c.total.n)
	}
	u.prompt = prompt
	tier := p.ratesFor(prompt)
	if !c.readable(tier) {
		return usage{}, errUsage
	}
	u.counts[cacheRead] = cached
	u.setWrites(p, write, c.writeShort.value(), c.writeLong.value())
	u.moveOut(tier, inputAudio, c.audioIn.value())
	u.moveOut(tier, inputImage, c.imageIn.value())
	u.moveOut(tier, outputAudio, c.audioOut.value())
	u.moveOut(tier, outputImage, c.imageOut.value())
	u.counts[input] = u.rest(prompt - cached - write - u.counts[inputAudio] - u.counts[inputImage])
	if !p.has(pinNoOutput) {
		out := u.whole(max(c.completion.n, c.total.n-prompt, c.reasoned()), c.audioOut.value()+c.imageOut.value())
		u.counts[output] = u.rest(out - u.counts[outputAudio] - u.counts[outputImage])
	}
	return u, nil
}

// reasoned is the output where more of it was reasoning than all of it is said to
// be: it then stands beside the rest, unless a total says what all of it is.
func (c *counts) reasoned() int64 {
	switch n := c.reasoning.value(); {
	case n <= c.completion.n:
		return 0
	case c.total.set:
		return n
	default:
		return n + c.completion.n
	}
}

// readable reports whether a report means something without the parts that
// cannot be read: they stay in their whole, which must not be the cheaper.
func (c *counts) readable(tier *rates) bool {
	for _, x := range []struct {
		bad bool
		b   bucket
	}{{c.cached.bad, cacheRead}, {c.write.bad, cacheWrite}, {c.write.bad, cacheWriteLong}, {c.audioIn.bad, inputAudio}, {c.imageIn.bad, inputImage}, {c.audioOut.bad, outputAudio}, {c.imageOut.bad, outputImage}} {
		if x.bad && (c.cacheOutside || tier != nil && tier.price(x.b) > tier.price(x.b.parent())) {
			return false
		}
	}
	return true
}

// setWrites splits cache writes by how long they live. What the report does not
// split takes the dearest time to live that was asked for.
func (u *usage) setWrites(p *pin, all, short, long int64) {
	rest := u.rest(all - short - long)
	if p.has(pinLongWrites) {
		long += rest
	} else {
		short += rest
	}
	u.counts[cacheWrite], u.counts[cacheWriteLong] = short, long
}

// openAIUsage is the usage object of OpenAI's APIs, in the spellings of all of
// them: imitators use each other's, and some add Anthropic's.
type openAIUsage struct {
	Prompt            tally                `json:"prompt_tokens"`
	Input             tally                `json:"input_tokens"` // the Responses API; mlx-vlm on chat
	Completion        tally                `json:"completion_tokens"`
	Output            tally                `json:"output_tokens"`
	Total             tally                `json:"total_tokens"`
	PromptDetails     group[inputDetails]  `json:"prompt_tokens_details"`
	PromptDetail      group[inputDetails]  `json:"prompt_token_details"` // Mistral
	InputDetails      group[inputDetails]  `json:"input_tokens_details"`
	InputDetail       group[inputDetails]  `json:"input_token_details"` // transcriptions
	CompletionDetails group[outputDetails] `json:"completion_tokens_details"`
	OutputDetails     group[outputDetails] `json:"output_tokens_details"`
	Cached            tally                `json:"cached_tokens"`            // Moonshot: the same tokens again
	NumCached         tally                `json:"num_cached_tokens"`        // Mistral: the same tokens again
	Hit               tally                `json:"prompt_cache_hit_tokens"`  // DeepSeek: the same tokens again
	Miss              tally                `json:"prompt_cache_miss_tokens"` // DeepSeek
	// Anthropic's names, as LiteLLM passes them on: the same tokens again.
	Read     tally                `json:"cache_read_input_tokens"`
	Write    tally                `json:"cache_creation_input_tokens"`
	Creation group[cacheCreation] `json:"cache_creation"`
	Seconds  rounded              `json:"prompt_audio_seconds"` // Mistral
	// Anthropic's as well: beside the usage of others, only a service tier is.
	Tier   word               `json:"service_tier"`
	Speed  word               `json:"speed"`
	Geo    word               `json:"inference_geo"`
	Billed group[cohereUnits] `json:"billed_units"` // Cohere, in its meta
	toolUses
	costs
}

type inputDetails struct {
	Cached       tally               `json:"cached_tokens"`
	CacheWrite   tally               `json:"cache_write_tokens"`
	Creation     tally               `json:"cache_creation_tokens"` // LiteLLM: the same tokens again
	WriteDetails group[writeDetails] `json:"cache_write_tokens_details"`
	// LiteLLM
	CreationDetails group[cacheCreation] `json:"cache_creation_token_details"`
	Audio           tally                `json:"audio_tokens"`
	Image           tally                `json:"image_tokens"`
	Text            tally                `json:"text_tokens"`
}

// writeDetails are OpenAI's times to live of cache writes.
type writeDetails struct {
	Short tally `json:"ttl_30m_tokens"`
	Long  tally `json:"ttl_12h_tokens"`
	unnamed
}

// cacheCreation are Anthropic's.
type cacheCreation struct {
	Short tally `json:"ephemeral_5m_input_tokens"`
	Long  tally `json:"ephemeral_1h_input_tokens"`
	unnamed
}

// unnamed are the members of an object that have no name here.
type unnamed struct {
	Rest jsontext.Value `json:",embed"`
}

// others reports whether one of them counts something.
func (u *unnamed) others() bool {
	var counts map[string]tally
	if len(u.Rest) == 0 || readReport(string(u.Rest), &counts) != nil {
		return false
	}
	for _, c := range counts {
		if c.n > 0 {
			return true
		}
	}
	return false
}

type outputDetails struct {
	Audio     tally `json:"audio_tokens"`
	Image     tally `json:"image_tokens"`
	Text      tally `json:"text_tokens"`
	Reasoning tally `json:"reasoning_tokens"`
}

// costs is how providers name the billed amount: OpenRouter in USD, xAI in ticks of
// a ten-thousand-millionth of that.
type costs struct {
	Cost        dollars          `json:"cost"`
	BYOK        flagged          `json:"is_byok"`
	CostDetails group[costParts] `json:"cost_details"`
	Ticks       tally            `json:"cost_in_usd_ticks"` // xAI
}

type costParts struct {
	Upstream dollars `json:"upstream_inference_cost"`
}

// chatReports are zero ones to read into: a kilobyte each.
var chatReports = sync.Pool{New: func() any { return new(openAIUsage) }}

// readChat reads a usage object of the OpenAI family; native says that the API's
// own name for the input is input_tokens.
func readChat(raw string, p *pin, native bool) (usage, error) {
	r := chatReports.Get().(*openAIUsage)
	defer func() {
		*r = openAIUsage{}
		chatReports.Put(r)
	}()
	if err := readReport(raw, r); err != nil {
		return usage{}, errUsage
	}
	c := r.counts(native)
	if b := &r.Billed.v; p.has(pinNoOutput) && !c.prompt.set && !c.total.set && !b.others() {
		c.total = largest(&b.Input.tally, &b.Total.tally)
	}
	bySecond := slices.ContainsFunc(p.counted, func(f countedFee) bool { return f.kind == feeAudio })
	if bySecond && c.completion.set { // Mistral: tokens of audio stand in the total only
		c.prompt.n = max(c.prompt.n, c.total.n-c.completion.n)
	}
	u, err := c.normalise(p)
	if err != nil {
		return u, err
	}
	if c.audioIn.n == 0 {
		u.hear(p)
	}
	if bySecond && r.Seconds.set && !r.Seconds.bad {
		u.seconds = uses{r.Seconds.n, true}
	}
	if p.has(pinCost) {
		u.readCost(&r.costs)
	}
	if p.has(pinTicks) {
		u.readTicks(&r.Ticks)
	}
	u.takeTools(&r.toolUses)
	u.tier, u.speed, u.geo = string(r.Tier), string(r.Speed), string(r.Geo)
	return u, nil
}

// hear takes input for audio, as much as the call can have brought, where a report
// does not say and audio is the dearer: Gemini's has no details.
func (u *usage) hear(p *pin) {
	tier := p.ratesFor(u.prompt)
	if tier == nil || tier.price(inputAudio) <= tier.price(input) {
		return
	}
	n := min(p.heard, u.counts[input])
	u.counts[input] -= n
	u.counts[inputAudio] += n
}

// counts merges the spellings: of a whole the largest counts, and of its parts.
func (r *openAIUsage) counts(native bool) counts {
	c := counts{prompt: largest(&r.Prompt, &r.Input), completion: largest(&r.Completion, &r.Output), total: r.Total}
	if r.Hit.set && r.Miss.set && !r.Hit.bad && !r.Miss.bad { // the whole input, where only its parts are named
		c.prompt.n, c.prompt.set = max(c.prompt.n, r.Hit.n+r.Miss.n), true
	}
	c.cached = largest(&r.Cached, &r.NumCached, &r.Hit, &r.Read)
	c.write = r.Write
	c.split(r.Creation.v, r.Creation.bad)
	for _, g := range []*group[inputDetails]{&r.PromptDetails, &r.PromptDetail, &r.InputDetails, &r.InputDetail} {
		d := &g.v
		c.cached = largest(&c.cached, &d.Cached)
		c.write = largest(&c.write, &d.CacheWrite, &d.Creation)
		c.split(cacheCreation(d.WriteDetails.v), d.WriteDetails.bad)
		c.split(d.CreationDetails.v, d.CreationDetails.bad)
		c.audioIn, c.imageIn, c.textIn = largest(&c.audioIn, &d.Audio), largest(&c.imageIn, &d.Image), largest(&c.textIn, &d.Text)
		for _, part := range []*tally{&c.cached, &c.write, &c.audioIn, &c.imageIn} {
			part.bad = part.bad || g.bad
		}
	}
	for _, g := range []*group[outputDetails]{&r.CompletionDetails, &r.OutputDetails} {
		c.audioOut, c.imageOut, c.textOut = largest(&c.audioOut, &g.v.Audio), largest(&c.imageOut, &g.v.Image), largest(&c.textOut, &g.v.Text)
		c.reasoning = largest(&c.reasoning, &g.v.Reasoning)
		c.audioOut.bad, c.imageOut.bad = c.audioOut.bad || g.bad, c.imageOut.bad || g.bad
	}
	if r.Read.set || r.Write.set || r.Read.bad || r.Write.bad {
		c.cacheOutside = c.outside(native || r.Prompt.set)
	}
	return c
}

// split takes how long cache writes live; bad: that cannot be read, and what is
// not split takes the dearest time to live that was asked for. Of others, which live
// for a time that nobody knows, only the sum tells how many.
func (c *counts) split(w cacheCreation, bad bool) {
	c.write.bad = c.write.bad || w.others() && !c.write.set
	if bad || w.Short.bad || w.Long.bad {
		c.write.bad = c.write.bad || !c.write.set
		return
	}
	c.writeShort, c.writeLong = largest(&c.writeShort, &w.Short), largest(&c.writeLong, &w.Long)
	if sum := c.writeShort.n + c.writeLong.n; sum > c.write.n {
		c.write.n, c.write.set = sum, true
	}
}

// outside says whether what Anthropic's names count comes on top of the input,
// as it does in Anthropic's own reports, or is within it, as LiteLLM has it: the
// total tells, else what the input is called.
func (c *counts) outside(openAIs bool) bool {
	parts := c.cached.value() + c.write.value()
	sum := c.prompt.n + c.completion.n
	switch {
	case c.total.set && c.completion.set && c.total.n == sum:
		return parts > c.prompt.n
	case c.total.set && c.completion.set && c.total.n == sum+parts:
		return true
	}
	return parts > c.prompt.n || !openAIs
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func (u *usage) moveOut(r *rates, b bucket, n int64) {
	if r != nil && r.priced(b) {
		u.counts[b] = n
	}
}

// whole is n with parts of it that are more than it: then they stand beside it.
func (u *usage) whole(n, parts int64) int64 {
	if parts <= n {
		return n
	}
	u.inconsistent = true
	return n + parts
}

// rest is what remains of a whole; a negative one means the parts disagree.
func (u *usage) rest(n int64) int64 {
	if n < 0 {
		u.inconsistent = true
		return 0
	}
	return n
}

// readCost takes the billed amount: with the client's own provider key it is
// only the fee, and the rest stands beside it. A cost that cannot be read is
// none; the counts then decide.
func (u *usage) readCost(r *costs) {
	cost, ok := r.Cost.value()
	if ok && bool(r.BYOK) {
		var more budget.Amount
		if more, ok = r.CostDetails.v.Upstream.value(); ok {
			cost, ok = cost.Add(more)
		}
	}
	if ok {
		u.cost, u.hasCost = cost, true
	}
}

// readTicks takes the amount that xAI bills, after all discounts and with its tools:
// 10^10 ticks are a dollar. None before the last report of a stream says anything.
// https://docs.x.ai/developers/cost-tracking
func (u *usage) readTicks(ticks *tally) {
	const perNano = 10
	if n := ticks.value(); n > 0 {
		u.cost, u.hasCost = budget.Amount((n+perNano-1)/perNano), true
	}
}
