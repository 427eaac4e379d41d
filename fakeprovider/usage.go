package fakeprovider

import (
	"encoding/json"
	"fmt"
)

// usage is a report on the wire: OpenAI's members, then what dialects add.
type usage struct {
	PromptTokens     int64          `json:"prompt_tokens"`
	CompletionTokens int64          `json:"completion_tokens"`
	TotalTokens      int64          `json:"total_tokens"`
	PromptDetails    *promptDetails `json:"prompt_tokens_details,omitempty"`
	OutputDetails    *outputDetails `json:"completion_tokens_details,omitempty"`

	CachedTokens *int64           `json:"cached_tokens,omitempty"`           // Moonshot
	CacheHit     *int64           `json:"prompt_cache_hit_tokens,omitempty"` // DeepSeek
	CacheMiss    *int64           `json:"prompt_cache_miss_tokens,omitempty"`
	QueueTime    json.RawMessage  `json:"queue_time,omitempty"` // Groq, seconds
	TotalTime    json.RawMessage  `json:"total_time,omitempty"`
	Cost         json.RawMessage  `json:"cost,omitempty"` // OpenRouter, dollars
	IsBYOK       *bool            `json:"is_byok,omitempty"`
	CostDetails  *json.RawMessage `json:"cost_details,omitempty"`
}

type promptDetails struct {
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens,omitempty"`
	AudioTokens      int64 `json:"audio_tokens"`
}

type outputDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
	AudioTokens     int64 `json:"audio_tokens"`
}

// usage reports the prompt and generated tokens, of which hidden thoughts only
// show in the total.
func (c *call) usage(p plan, generated int64) usage {
	thoughts := min(p.thoughts*p.choices, generated)
	reasoning := thoughts + min(p.reasoning*p.choices, generated-thoughts)
	u := usage{
		PromptTokens:     p.prompt,
		CompletionTokens: generated - thoughts,
		TotalTokens:      p.prompt + generated,
		PromptDetails:    &promptDetails{CachedTokens: p.cached, CacheWriteTokens: p.written + p.writtenLong},
		OutputDetails:    &outputDetails{ReasoningTokens: reasoning},
	}
	if !c.server.cfg.details() {
		u.PromptDetails, u.OutputDetails = nil, nil
	}
	switch c.server.cfg.Dialect {
	case Moonshot:
		u.CachedTokens = &p.cached
	case DeepSeek:
		miss := p.prompt - p.cached
		u.CacheHit, u.CacheMiss = &p.cached, &miss
	case Groq:
		u.QueueTime, u.TotalTime = json.RawMessage("0.004321"), json.RawMessage("1.25e-1")
	case OpenRouter:
		byok, details := false, json.RawMessage(`{"upstream_inference_cost":null}`)
		u.Cost, u.IsBYOK, u.CostDetails = dollars(c.cost(p.spent(generated))), &byok, &details
	}
	return u
}

// dollars is an amount of nano-USD as a JSON number.
func dollars(nano int64) json.RawMessage {
	return fmt.Appendf(nil, "%d.%09d", nano/1e9, nano%1e9)
}

// report is the usage member of chat and completions.
func (c *call) report(p plan, generated int64) json.RawMessage {
	if c.faults.BadUsage {
		return json.RawMessage(`{"prompt_tokens":"many","completion_tokens":"few","total_tokens":"all"}`)
	}
	return marshal(c.usage(p, generated))
}

// marshal is v as JSON; nil if there is no such thing.
func marshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil { // only plain structs reach here
		return nil
	}
	return raw
}
