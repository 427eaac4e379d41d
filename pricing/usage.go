package pricing

import (
	"bytes"
	"errors"
	"math/bits"
	"strconv"

	"aigateway/budget"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// usage is a provider's report, normalised: the buckets are disjoint.
type usage struct {
	counts       [bucketCount]int64
	prompt       int64 // all input, for the price tier
	cost         budget.Amount
	hasCost      bool // the provider named the billed amount
	inconsistent bool // parts were larger than their whole
}

// openAIUsage is the usage object of OpenAI's chat completions and embeddings,
// with the other spellings its imitators use.
type openAIUsage struct {
	Prompt        *int64 `json:"prompt_tokens"`
	Completion    *int64 `json:"completion_tokens"`
	Total         *int64 `json:"total_tokens"`
	PromptDetails *struct {
		Cached     *int64 `json:"cached_tokens"`
		CacheWrite *int64 `json:"cache_write_tokens"`
		Audio      *int64 `json:"audio_tokens"`
		Image      *int64 `json:"image_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails *struct {
		Audio *int64 `json:"audio_tokens"`
	} `json:"completion_tokens_details"`
	Cached      *int64         `json:"cached_tokens"`           // Moonshot: the same tokens again
	Hit         *int64         `json:"prompt_cache_hit_tokens"` // DeepSeek: the same tokens again
	Miss        *int64         `json:"prompt_cache_miss_tokens"`
	Cost        jsontext.Value `json:"cost"` // OpenRouter: USD
	BYOK        jsontext.Value `json:"is_byok"`
	CostDetails jsontext.Value `json:"cost_details"`
}

var errUsage = errors.New("malformed usage")

// maxCount keeps sums of counts far from overflow.
const maxCount = 1 << 50

// openAIChat reads a usage object of the OpenAI family. Details are subsets of
// their totals; output outside completion_tokens (Gemini's thoughts, xAI's
// reasoning) is found in the total. Audio and images move out of the input only
// where p prices them separately.
func openAIChat(raw string, p *pin) (usage, error) {
	var r openAIUsage
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return usage{}, errUsage
	}
	var u usage
	prompt, ok := r.promptTokens()
	completion, total := value(r.Completion), value(r.Total)
	if !ok || r.Completion == nil && r.Total == nil && !p.has(pinNoOutput) {
		return usage{}, errUsage
	}
	cached := max(value(r.Cached), value(r.Hit))
	var write, audioIn, imageIn, audioOut int64
	if d := r.PromptDetails; d != nil {
		cached = max(cached, value(d.Cached))
		write, audioIn, imageIn = value(d.CacheWrite), value(d.Audio), value(d.Image)
	}
	if d := r.CompletionDetails; d != nil {
		audioOut = value(d.Audio)
	}
	for _, n := range []int64{prompt, completion, total, cached, write, audioIn, imageIn, audioOut} {
		if n < 0 || n > maxCount {
			return usage{}, errUsage
		}
	}
	tier := p.ratesFor(prompt)
	u.prompt = prompt
	u.counts[cacheRead], u.counts[cacheWrite] = cached, write
	u.moveOut(tier, inputAudio, audioIn)
	u.moveOut(tier, inputImage, imageIn)
	u.moveOut(tier, outputAudio, audioOut)
	u.counts[input] = u.rest(prompt - cached - write - u.counts[inputAudio] - u.counts[inputImage])
	if !p.has(pinNoOutput) {
		u.counts[output] = u.rest(max(completion, total-prompt) - u.counts[outputAudio])
	}
	if p.has(pinCost) {
		u.readCost(&r)
	}
	return u, nil
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
func (u *usage) readCost(r *openAIUsage) {
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

// nanoUSD reads a JSON number of dollars exactly, rounding up to nano-USD.
func nanoUSD(raw []byte) (budget.Amount, bool) {
	mantissa, exponent, _ := bytes.Cut(bytes.ToLower(raw), []byte("e"))
	scale := 9
	if len(exponent) > 0 {
		e, err := strconv.Atoi(string(exponent))
		if err != nil || e < -400 || e > 400 {
			return 0, false
		}
		scale += e
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	if len(whole) == 0 || len(whole)+len(fraction) > 100 {
		return 0, false
	}
	digits := append(append(make([]byte, 0, 100), whole...), fraction...)
	scale -= len(fraction)
	var n uint64
	up := uint64(0)
	for i, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if len(digits)-i <= -scale { // below a nano
			if c != '0' {
				up = 1
			}
			continue
		}
		hi, lo := bits.Mul64(n, 10)
		if hi != 0 || lo > uint64(budget.MaxAmount) {
			return 0, false
		}
		n = lo + uint64(c-'0')
	}
	for ; scale > 0 && n > 0; scale-- {
		if n > uint64(budget.MaxAmount)/10 {
			return 0, false
		}
		n *= 10
	}
	n += up
	return budget.Amount(n), n <= uint64(budget.MaxAmount)
}
