package pricing

import (
	"errors"

	"aigateway/budget"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// usage is a provider's report, normalised: the buckets are disjoint.
type usage struct {
	part
	more         []part // Anthropic: what else models did for this call
	cost         budget.Amount
	hasCost      bool // the provider named the billed amount
	searches     int64
	hasSearches  bool   // the provider counted the web searches
	units        int64  // search units of a reranker
	tier         string // service tier named inside the report
	speed        string // Anthropic: fast or standard
	inconsistent bool   // parts were larger than their whole
	unpriced     bool   // it reports something that has no price
}

// part is what one model used.
type part struct {
	model  string // as served; empty: the one of the answer
	counts [bucketCount]int64
	prompt int64 // all input, for the price tier
}

var errUsage = errors.New("malformed usage")

// maxCount keeps sums of counts far from overflow.
const maxCount = 1 << 50

// read normalises the report in ev by the pin's dialect.
func (p *pin) read(ev *Evidence) (usage, error) {
	switch p.dialect() {
	case openAIChat, openRouter:
		return readChat(ev.Usage, p)
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
	}
	return usage{}, errUsage // a newer version's pin
}

// counts is what the OpenAI family reports. Details are subsets of their totals.
type counts struct {
	prompt, completion, total            int64
	cached, write, writeShort, writeLong int64 // write includes the other two
	audioIn, imageIn, audioOut           int64
	hasPrompt, hasCompletion, hasTotal   bool
	cacheOutside                         bool // prompt excludes cached and write
}

// normalise makes the buckets disjoint. Output outside completion_tokens
// (Gemini's thoughts, xAI's reasoning) is found in the total. Audio and images
// move out of the input only where p prices them separately.
func (c *counts) normalise(p *pin) (usage, error) {
	var u usage
	if !c.hasPrompt || !c.hasCompletion && !c.hasTotal && !p.has(pinNoOutput) {
		return usage{}, errUsage
	}
	for _, n := range []int64{c.prompt, c.completion, c.total, c.cached, c.write, c.writeShort, c.writeLong, c.audioIn, c.imageIn, c.audioOut} {
		if n < 0 || n > maxCount {
			return usage{}, errUsage
		}
	}
	if c.cacheOutside {
		c.prompt += c.cached + c.write
	}
	u.prompt = c.prompt
	tier := p.ratesFor(c.prompt)
	u.counts[cacheRead] = c.cached
	u.setWrites(p, c.write, c.writeShort, c.writeLong)
	u.moveOut(tier, inputAudio, c.audioIn)
	u.moveOut(tier, inputImage, c.imageIn)
	u.moveOut(tier, outputAudio, c.audioOut)
	u.counts[input] = u.rest(c.prompt - c.cached - c.write - u.counts[inputAudio] - u.counts[inputImage])
	if !p.has(pinNoOutput) {
		u.counts[output] = u.rest(max(c.completion, c.total-c.prompt) - u.counts[outputAudio])
	}
	return u, nil
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

// openAIUsage is the usage object of OpenAI's chat completions and embeddings,
// with the other spellings its imitators use.
type openAIUsage struct {
	Prompt            *int64         `json:"prompt_tokens"`
	Completion        *int64         `json:"completion_tokens"`
	Total             *int64         `json:"total_tokens"`
	PromptDetails     *inputDetails  `json:"prompt_tokens_details"`
	CompletionDetails *outputDetails `json:"completion_tokens_details"`
	Cached            *int64         `json:"cached_tokens"`           // Moonshot: the same tokens again
	Hit               *int64         `json:"prompt_cache_hit_tokens"` // DeepSeek: the same tokens again
	Miss              *int64         `json:"prompt_cache_miss_tokens"`
	costs
}

type inputDetails struct {
	Cached       *int64 `json:"cached_tokens"`
	CacheWrite   *int64 `json:"cache_write_tokens"`
	WriteDetails *struct {
		Short *int64 `json:"ttl_30m_tokens"`
		Long  *int64 `json:"ttl_12h_tokens"`
	} `json:"cache_write_tokens_details"`
	Audio *int64 `json:"audio_tokens"`
	Image *int64 `json:"image_tokens"`
}

type outputDetails struct {
	Audio *int64 `json:"audio_tokens"`
}

// costs is how OpenRouter names the billed amount, in USD.
type costs struct {
	Cost        jsontext.Value `json:"cost"`
	BYOK        jsontext.Value `json:"is_byok"`
	CostDetails jsontext.Value `json:"cost_details"`
}

// readChat reads a usage object of the OpenAI family.
func readChat(raw string, p *pin) (usage, error) {
	var r openAIUsage
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return usage{}, errUsage
	}
	c := counts{completion: value(r.Completion), total: value(r.Total), hasCompletion: r.Completion != nil, hasTotal: r.Total != nil}
	c.prompt, c.hasPrompt = r.promptTokens()
	c.cached = max(value(r.Cached), value(r.Hit))
	c.details(r.PromptDetails, r.CompletionDetails)
	u, err := c.normalise(p)
	if err == nil && p.has(pinCost) {
		u.readCost(&r.costs)
	}
	return u, err
}

func (c *counts) details(in *inputDetails, out *outputDetails) {
	if in != nil {
		c.cached = max(c.cached, value(in.Cached))
		c.write, c.audioIn, c.imageIn = value(in.CacheWrite), value(in.Audio), value(in.Image)
		if in.WriteDetails != nil {
			c.writeShort, c.writeLong = value(in.WriteDetails.Short), value(in.WriteDetails.Long)
		}
	}
	if out != nil {
		c.audioOut = value(out.Audio)
	}
}

// promptTokens is the whole input, also where only its cached and uncached
// parts are named.
func (r *openAIUsage) promptTokens() (int64, bool) {
	parts := r.Hit != nil && r.Miss != nil && *r.Hit >= 0 && *r.Miss >= 0 && *r.Hit < maxCount && *r.Miss < maxCount
	switch {
	case parts:
		return max(value(r.Prompt), *r.Hit+*r.Miss), true
	case r.Prompt != nil:
		return *r.Prompt, true
	}
	return 0, false
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
	cost, ok := nanoUSD(r.Cost)
	if !ok {
		return
	}
	if string(r.BYOK) == "true" {
		var d struct {
			Upstream jsontext.Value `json:"upstream_inference_cost"`
		}
		if json.Unmarshal(r.CostDetails, &d) != nil {
			return
		}
		more, ok := nanoUSD(d.Upstream)
		if !ok {
			return
		}
		if cost, ok = cost.Add(more); !ok {
			return
		}
	}
	u.cost, u.hasCost = cost, true
}
