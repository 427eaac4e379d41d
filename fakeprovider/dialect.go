package fakeprovider

import "slices"

// Dialect is whose habits the provider has beside OpenAI's common ground.
type Dialect string

// The dialects. Each says what differs from OpenAI.
const (
	// OpenAI reports the usage of a stream in an extra chunk, when asked.
	OpenAI Dialect = ""
	// Azure begins a stream with a chunk that has neither choices nor usage.
	Azure Dialect = "azure"
	// Anthropic reports no details in chat and takes one choice; its own
	// endpoint, messages, is served whatever the dialect.
	Anthropic Dialect = "anthropic"
	// Gemini reports in every chunk, unasked and cumulative, and its
	// reasoning is in the total only.
	Gemini Dialect = "gemini"
	// Moonshot has cached tokens twice, and a report inside the last choice of
	// a stream, asked or not.
	Moonshot Dialect = "moonshot"
	// DeepSeek splits the prompt into hits and misses, sends comments, and
	// empty lines before a plain answer.
	DeepSeek Dialect = "deepseek"
	// XAI has reasoning in the total only, and an empty chunk after the report.
	XAI Dialect = "xai"
	// Mistral reports in the last chunk with a choice, unasked, and answers
	// 422 to members it does not know.
	Mistral Dialect = "mistral"
	// Groq reports in x_groq, too, with durations beside the counts.
	Groq Dialect = "groq"
	// OpenRouter reports what the call cost, unasked, and sends comments.
	OpenRouter Dialect = "openrouter"
	// VLLM has no details, and running totals when asked for them.
	VLLM Dialect = "vllm"
	// Cohere reranks for search units.
	Cohere Dialect = "cohere"
	// Voyage reranks by token and calls the results data.
	Voyage Dialect = "voyage"
)

// refuses are the body members that are answered 422.
func (cfg *Config) refuses() []string {
	if cfg.Dialect == Mistral {
		return slices.Concat(cfg.Refuses, []string{"stream_options", "max_completion_tokens"})
	}
	return cfg.Refuses
}

// running reports whether every chunk of a stream has the usage so far.
func (cfg *Config) running() bool { return cfg.RunningUsage || cfg.Dialect == Gemini }

// details reports whether chat's usage has details. Without them nothing is
// read from a cache: nobody could tell the discount.
func (cfg *Config) details() bool {
	return cfg.Dialect != Anthropic && cfg.Dialect != Gemini && cfg.Dialect != VLLM
}

// reasonsOutside reports whether completion_tokens leaves reasoning out.
func (cfg *Config) reasonsOutside() bool { return cfg.Dialect == Gemini || cfg.Dialect == XAI }

// writesCache reports whether prompts are written to a cache without being
// asked, and reported so.
func (cfg *Config) writesCache() bool { return cfg.Dialect == OpenAI || cfg.Dialect == OpenRouter }

// comment is what keeps an idle stream alive; empty for none.
func (cfg *Config) comment() string {
	switch cfg.Dialect {
	case DeepSeek:
		return ": keep-alive"
	case OpenRouter:
		return ": OPENROUTER PROCESSING"
	}
	return ""
}
