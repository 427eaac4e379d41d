package pricing

// harmless knows the documented top-level members of all endpoints that decide
// no money. Where strict_body is set, others are refused: a provider may read
// something into them.
func harmless(name []byte) bool {
	switch string(name) {
	case "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed", "stop", "stop_sequences",
		"logit_bias", "logprobs", "top_logprobs", "echo", "suffix", "user", "metadata", "store", "safety_identifier", "prompt_cache_key",
		"response_format", "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort", "reasoning", "verbosity",
		"thinking", "output_config", "output_format", "system", "instructions", "text", "truncation", "include", "cache_control",
		"encoding_format", "dimensions", "input_type", "output_dtype", "output_dimension", "prefix", "safe_prompt", "random_seed", "prompt_mode",
		"return_documents", "top_n", "rank_fields", "audio", "transforms", "usage", "session_id",
		"chat_template_kwargs", "guided_json", "guided_regex", "guided_choice", "ignore_eos", "min_tokens", "skip_special_tokens",
		"add_generation_prompt", "priority", "keep_alive", "options", "disable_reasoning", "include_reasoning", "reasoning_format",
		"generate", "prewarm", "input", "prompt":
		return true
	}
	return false
}
