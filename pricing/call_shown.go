package pricing

// What a client got of a stream bounds what was generated only where everything
// is in it that is billed: where the provider says so, and the body asks for
// nothing else. A token has a byte at least, unless it is a special one: those
// that a body can force (logit_bias, ignore_eos, min_tokens, skip_special_tokens)
// and output that it can hide (include_reasoning) are in neither list, nor is
// any member that nobody here knows.

// shown are the members that hide no output, wherever they are known. It is never
// changed.
var shown = nameSet(
	"model", "messages", "system", "input", "instructions", "prompt", "suffix", "previous_response_id",
	"max_tokens", "max_completion_tokens", "max_output_tokens", "n", "stream", "stream_options", "stop", "stop_sequences",
	"temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed", "random_seed",
	"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "text", "verbosity",
	"logprobs", "top_logprobs", "echo", "user", "metadata", "store", "safety_identifier", "safe_prompt", "truncation", "include",
	"service_tier", "speed", "inference_geo", "cache_control", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
)

// thoughtful are those that may make a model think.
var thoughtful = nameSet("reasoning_effort", "thinking", "chat_template_kwargs")

func nameSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// hidden is what of a call's output may not be in its stream.
type hidden struct {
	output   bool  // anything
	thoughts bool  // what the model thinks, where its provider does not show it
	tools    bool  // it has tools, whose calls may come late
	held     int64 // bytes that may be held back: those of stop sequences
}

// note takes over what a top-level member means for it, and reports whether its
// value is what may be held back.
func (h *hidden) note(name []byte) bool {
	switch {
	case thoughtful[string(name)]:
		h.thoughts = true
	case !shown[string(name)]:
		h.output = true
	}
	switch string(name) {
	case "stop", "stop_sequences":
		return true
	case "tools", "functions":
		h.tools = true
	}
	return false
}

// showsOutput reports whether the bytes of the call's stream bound the tokens
// that it has generated, as far as it was delivered. A choice whose tool call is
// held back until it is whole cannot be told from another one that goes on.
func (m *Model) showsOutput(c *Call) bool {
	u := &m.Upstream
	thinks := c.hidden.thoughts || !m.Row.rules.thinksWhenAsked
	return u.MaxTokensPerSecond > 0 && c.Stream && c.form == nil && !c.hidden.output && !(thinks && !u.StreamsAllOutput) &&
		!(c.hidden.tools && c.choices*max(1, c.prompts) > 1)
}
