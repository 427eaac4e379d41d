package pricing

// topLevel is every top-level member known here. A name may stand in several
// rows, for endpoints of their own. It is never changed.
var topLevel = []member{
	{name: "model", in: everywhere, read: (*parser).modelMember, about: "the model, and so the price"},
	{name: "stream", in: everywhere &^ inRerank, plain: true, read: (*parser).streamMember, about: "the form of the answer, and so of its usage report"},
	{name: "stream_options", in: inChat | inCompletions, read: (*parser).streamOptions, about: "whether a stream reports its usage"},
	{name: "stream_options", in: inResponses | inMessages},
	{name: "service_tier", in: everywhere, read: (*parser).serviceTierMember, about: "a multiplier on the price"},
	{name: "speed", in: inSpeech}, // of the voice
	{name: "speed", in: everywhere &^ inSpeech, read: (*parser).speedMember, about: "a multiplier on the price"},
	{name: "inference_geo", in: everywhere, read: (*parser).geoMember, about: "a multiplier on the price"},
	{name: "provider", in: everywhere, read: (*parser).routingMember, about: "OpenRouter's choice of hosts, whose prices differ"},
	{name: "extra_body", in: everywhere, read: (*parser).extraBody, about: "Gemini's extensions, which may name cached input or hosted tools"},
	{name: "google", in: everywhere, read: (*parser).extraBody, about: "the same"},

	// Output.
	{name: "max_tokens", in: inChat | inMessages | inCompletions, read: (*parser).maxTokensMember, about: "caps the output"},
	{name: "max_completion_tokens", in: inChat | inCompletions, read: (*parser).maxCompletionMember, about: "caps the output"},
	{name: "max_output_tokens", in: inResponses, read: (*parser).maxOutputMember, about: "caps the output"},
	{name: "max_output_tokens", in: generating &^ inResponses, read: (*parser).foreignCapMember, about: "another API's cap: the larger counts"},
	{name: "max_completion_tokens", in: inResponses | inMessages, read: (*parser).foreignCapMember, about: "another API's cap: the larger counts"},
	{name: "max_tokens", in: inResponses, read: (*parser).foreignCapMember, about: "another API's cap: the larger counts"},
	{name: "n", in: generating, read: (*parser).choicesMember, about: "multiplies the output"},
	{name: "best_of", in: generating, read: (*parser).choicesMember, about: "multiplies the output"},
	{name: "modalities", in: inChat | inResponses, read: (*parser).modalitiesMember, about: "spoken output has a price of its own"},
	{name: "prediction", in: inChat, read: (*parser).predictionMember, about: "rejected tokens are billed as output, so time does not bound it"},

	// Input.
	{name: "messages", in: inChat, read: (*parser).messagesList, text: (*textWalker).messages, about: "input; its images and audio have bounds of their own"},
	{name: "messages", in: inMessages, read: (*parser).turnsList, about: "input; its images and documents have bounds of their own"},
	{name: "system", in: inMessages, read: (*parser).blocks, about: "input"},
	{name: "input", in: inResponses, read: (*parser).itemsOrText, text: (*textWalker).messagesOrText, about: "input; items that only name what the provider stored are bounded by that"},
	{name: "instructions", in: inResponses, read: (*parser).itemsOrText, text: (*textWalker).verbatimText, about: "input"},
	{name: "input", in: inEmbeddings, read: (*parser).embeddingsInput, text: (*textWalker).texts, about: "input, by text or token"},
	{name: "input", in: inModerations, read: (*parser).moderatedInput, about: "input: texts, or parts with images"},
	{name: "prompt", in: drawing | hearing, read: (*parser).promptText, about: "input"},
	{name: "image", in: inImageEdits, file: (*parser).pictureFile, list: true, read: (*parser).pictureSources, about: "input: the most an image takes"},
	{name: "images", in: inImageEdits, file: (*parser).pictureFile, list: true, read: (*parser).pictureSources, about: "the same"},
	{name: "mask", in: inImageEdits, file: (*parser).pictureFile, read: (*parser).pictureSources, about: "the same"},
	{name: "markup", in: inImageEdits, file: (*parser).pictureFile, read: (*parser).pictureSources, about: "the same"},
	{name: "file", in: hearing, file: (*parser).recordingFile, reason: "unbounded_media", remedy: "is no uploaded file, so nobody knows how long the recording is; send it as one, with a file name"},
	{name: "known_speaker_references", in: hearing, list: true, read: (*parser).speakerSample, about: "input: ten seconds each"},
	{name: "input", in: inSpeech, read: (*parser).spokenText, about: "input, by character where the model is billed so"},
	{name: "prompt", in: inCompletions, read: (*parser).completionPrompt, text: (*textWalker).texts, about: "input; each prompt has choices of its own"},
	{name: "prompt", in: inChat, read: (*parser).prompt, about: "a text is input; a stored prompt has no bound"},
	{name: "prompt", in: inResponses, read: (*parser).templateMember, about: "a stored prompt: bounded by the context where allow_stored_input says that it brings no hosted tools"},
	{name: "previous_response_id", in: inResponses, read: (*parser).previousMember, about: "stored input: bounded by what was settled for it, else by the context"},
	{name: "conversation", in: inResponses, read: (*parser).conversationMember, about: "stored input: bounded by the context"},
	{name: "query", in: inRerank, read: (*parser).rerankQuery, about: "input, once per document"},
	{name: "documents", in: inRerank, read: (*parser).rerankDocuments, about: "input"},
	{name: "texts", in: inRerank, read: (*parser).rerankDocuments, about: "input"},
	{name: "passages", in: inRerank, read: (*parser).rerankDocuments, about: "input"},
	{name: "max_tokens_per_doc", in: inRerank, read: (*parser).perDocMember, about: "cuts documents"},
	{name: "max_doc_length", in: inRerank, read: (*parser).perDocMember, about: "cuts documents"},
	{name: "truncate_prompt_tokens", in: inRerank, read: (*parser).perDocMember, about: "cuts documents"},
	{name: "max_chunks_per_doc", in: inRerank, read: (*parser).countMember, about: "checked, and not used"},
	{name: "max_query_length", in: inRerank, read: (*parser).countMember, about: "checked, and not used"},
	{name: "top_n", in: inRerank, read: (*parser).countMember, about: "checked, and not used"},
	{name: "top_k", in: inRerank, read: (*parser).countMember, about: "checked, and not used"},
	{name: "return_documents", in: inRerank, read: (*parser).flagMember, about: "checked, and not used"},
	{name: "truncation", in: inRerank, read: (*parser).flagMember, about: "checked, and not used"},
	{name: "return_embeddings", in: inRerank, read: (*parser).flagMember, about: "checked, and not used"},

	// Images and speech.
	{name: "n", in: drawing, plain: true, read: (*parser).picturesMember, about: "multiplies the images"},
	{name: "quality", in: drawing, read: (*parser).qualityMember, about: "the output tokens or the price of an image; the dearest where the model chooses"},
	{name: "size", in: drawing, read: (*parser).sizeMember, about: "the same"},
	{name: "resolution", in: drawing, read: (*parser).sizeMember, about: "the same, as xAI names it"},
	{name: "partial_images", in: drawing, plain: true, read: (*parser).partialsMember, about: "output tokens of each"},
	{name: "output_format", in: drawing, read: (*parser).formatMember, about: "an animated one has frames, each of which counts as an image"},
	{name: "frame_count", in: drawing, plain: true, read: (*parser).framesMember, about: "the same"},
	{name: "svg", in: drawing, reason: "unbounded_media", remedy: "lets another model draw, which is billed apart; ask for png, webp or jpeg"},
	{name: "complexity", in: drawing, reason: "unbounded_media", remedy: "lets the model plan, at a cost that nobody has published; leave it out"},
	{name: "prompt_rewriter", in: drawing, reason: "unbounded_media", remedy: "lets another model write the prompt anew, which is billed apart; leave it out"},
	{name: "moderation", in: drawing},
	{name: "background", in: drawing},
	{name: "style", in: drawing},
	{name: "output_compression", in: drawing},
	{name: "frame_duration_ms", in: drawing},
	{name: "aspect_ratio", in: drawing}, // xAI
	{name: "input_fidelity", in: inImageEdits, read: (*parser).fidelity, about: "what an image takes of input"},
	{name: "response_format", in: drawing | inSpeech},
	{name: "response_format", in: hearing, read: (*parser).transcriptFormat, about: "whether the answer reports its usage"},
	{name: "chunking_strategy", in: hearing, list: true, read: (*parser).chunking, about: "a recording in pieces may exceed the model's context"},
	{name: "language", in: hearing},
	{name: "languages", in: hearing, list: true},
	{name: "keywords", in: hearing, list: true},
	{name: "known_speaker_names", in: hearing, list: true},
	{name: "timestamp_granularities", in: hearing, list: true},
	{name: "include", in: hearing, list: true},
	{name: "voice", in: inSpeech},
	{name: "stream_format", in: inSpeech, read: (*parser).streamFormat, about: "whether the answer reports its usage"},

	// Tools and cache.
	{name: "tools", in: generating, read: (*parser).toolsMember, text: (*textWalker).tools, about: "tools of the client are input; those that the provider runs need a fee and a number of uses"},
	{name: "functions", in: inChat, read: (*parser).functionsMember, about: schemaAbout},
	{name: "response_format", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "text", in: inResponses, read: (*parser).schemaMember, about: schemaAbout},
	{name: "output_config", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "output_format", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "format", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "json_schema", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "guided_json", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "structured_outputs", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "chat_template_kwargs", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "documents", in: generating, read: (*parser).schemaMember, about: schemaAbout},
	{name: "max_tool_calls", in: inResponses, read: (*parser).toolCallsMember, about: "the uses of all hosted tools together"},
	{name: "store", in: inResponses, read: (*parser).storeMember, about: "whether the answer can be had by its id"},
	{name: "truncation", in: inResponses, read: (*parser).truncationMember, about: "what a turn leaves out may be input of the next"},
	{name: "reasoning", in: inResponses, read: (*parser).reasoningMember, about: "the reasoning of all turns is stored input, too"},
	{name: "context_management", in: inResponses | inMessages, read: (*parser).contextManagement, about: "clearing adds nothing; compacting is refused: nothing published limits how often a model is called for it, or how long its summary gets (/v1/responses/compact has a bound)"},
	{name: "prompt_cache_options", in: inChat | inResponses, read: (*parser).cacheOptions, about: "cache writes and their price"},
	{name: "prompt_cache_retention", in: inChat | inResponses, read: (*parser).cacheRetention, about: "long-lived cache writes have a price of their own"},
	{name: "generate", in: inResponses, read: (*parser).prewarmMember, about: "fills the cache"},
	{name: "prewarm", in: inResponses, read: (*parser).prewarmMember, about: "fills the cache"},

	// Input that is somewhere else.
	{name: "previous_response_id", in: everywhere &^ inResponses, reason: "unbounded_input", remedy: storedRemedy},
	{name: "conversation", in: everywhere &^ inResponses, reason: "unbounded_input", remedy: storedRemedy},
	{name: "conversation_id", in: everywhere, reason: "unbounded_input", remedy: storedRemedy},
	{name: "thread", in: everywhere, reason: "unbounded_input", remedy: storedRemedy},
	{name: "thread_id", in: everywhere, reason: "unbounded_input", remedy: storedRemedy},
	{name: "cached_content", in: everywhere, reason: "unbounded_input", remedy: "refers to cached input whose size is unknown; send the messages themselves"},
	{name: "data_sources", in: everywhere, reason: "unbounded_input", remedy: addsRemedy},
	{name: "vector_store_ids", in: everywhere, reason: "unbounded_input", remedy: addsRemedy},
	{name: "knowledge_base_ids", in: everywhere, reason: "unbounded_input", remedy: addsRemedy},
	{name: "connectors", in: everywhere, reason: "unbounded_input", remedy: addsRemedy},
	{name: "chat_template", in: everywhere, reason: "unbounded_input", remedy: "can expand to any length; leave it out"},
	{name: "prompt_embeds", in: everywhere, reason: "unbounded_input", remedy: "is input that is no text and has no bound; send text"},
	{name: "prompts", in: everywhere, reason: "unbounded_input", remedy: otherInput},
	{name: "inputs", in: everywhere, reason: "unbounded_input", remedy: otherInput},
	{name: "texts", in: inEmbeddings, reason: "unbounded_input", remedy: otherInput},
	{name: "contents", in: everywhere, reason: "unbounded_input", remedy: otherInput},
	{name: "content", in: inEmbeddings, reason: "unbounded_input", remedy: otherInput},
	{name: "requests", in: everywhere, reason: "unbounded_input", remedy: otherInput},
	{name: "instances", in: everywhere, reason: "unbounded_input", remedy: otherInput},
	{name: "messages", in: everywhere &^ (inChat | inMessages), reason: "unbounded_media", remedy: "can hold media without a bound; send input"}, // vLLM embeds a chat
	{name: "file_ids", in: everywhere, reason: "unbounded_media", remedy: "refers to files whose size is unknown; send their text in messages"},
	{name: "files", in: everywhere, reason: "unbounded_media", remedy: "refers to files whose size is unknown; send their text in messages"},
	{name: "attachments", in: everywhere, reason: "unbounded_media", remedy: "refers to files whose size is unknown; send their text in messages"},
	{name: "image", in: everywhere &^ (inResponses | inImageEdits), reason: "unbounded_media", remedy: topMedia},
	{name: "image", in: inResponses}, // options that only make images smaller
	{name: "images", in: everywhere &^ inImageEdits, reason: "unbounded_media", remedy: topMedia},
	{name: "image_url", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "image_data", in: everywhere, reason: "unbounded_media", remedy: topMedia}, // llama.cpp
	{name: "multimodal_data", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "file_id", in: hearing, reason: "unbounded_media", remedy: recordingRemedy},
	{name: "file_url", in: hearing, reason: "unbounded_media", remedy: recordingRemedy},
	{name: "url", in: hearing, reason: "unbounded_media", remedy: recordingRemedy}, // Groq
	{name: "video", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "videos", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "video_url", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "audio_url", in: everywhere, reason: "unbounded_media", remedy: topMedia},
	{name: "vl_high_resolution_images", in: everywhere, reason: "unbounded_media", remedy: imageRemedy}, // Qwen
	{name: "mm_processor_kwargs", in: everywhere, reason: "unbounded_media", remedy: imageRemedy},       // vLLM
	{name: "media_io_kwargs", in: everywhere, reason: "unbounded_media", remedy: imageRemedy},           // vLLM

	// Caps and counts by other names.
	{name: "n_predict", in: everywhere, reason: "unsupported_feature", remedy: capRemedy},      // llama.cpp
	{name: "num_predict", in: everywhere, reason: "unsupported_feature", remedy: capRemedy},    // Ollama
	{name: "max_new_tokens", in: everywhere, reason: "unsupported_feature", remedy: capRemedy}, // Transformers, SGLang
	{name: "max_gen_len", in: everywhere, reason: "unsupported_feature", remedy: capRemedy},    // Llama on Bedrock
	{name: "max_length", in: generating, reason: "unsupported_feature", remedy: capRemedy},     // Transformers
	{name: "max_tokens_to_sample", in: everywhere, reason: "unsupported_feature", remedy: capRemedy},
	{name: "n_cmpl", in: everywhere, reason: "unsupported_feature", remedy: capRemedy}, // llama.cpp
	{name: "num_return_sequences", in: everywhere, reason: "unsupported_feature", remedy: capRemedy},
	{name: "num_generations", in: everywhere, reason: "unsupported_feature", remedy: capRemedy}, // Cohere
	{name: "candidate_count", in: everywhere, reason: "unsupported_feature", remedy: capRemedy}, // Gemini
	{name: "options", in: generating, read: (*parser).serverOptions, about: "Ollama's; a cap or a context in it is refused"},
	{name: "parameters", in: generating, reason: "unsupported_feature", remedy: configRemedy},        // Hugging Face, DashScope
	{name: "generation_config", in: generating, reason: "unsupported_feature", remedy: configRemedy}, // Gemini
	{name: "inference_config", in: generating, reason: "unsupported_feature", remedy: configRemedy},  // Bedrock
	{name: "sampling_params", in: generating, reason: "unsupported_feature", remedy: configRemedy},   // SGLang
	{name: "extra_headers", in: everywhere, reason: "unsupported_feature", remedy: headersRemedy},    // LiteLLM
	{name: "betas", in: everywhere, reason: "unsupported_feature", remedy: headersRemedy},
	{name: "anthropic_beta", in: everywhere, reason: "unsupported_feature", remedy: headersRemedy}, // Bedrock, Vertex

	// More models, and more work.
	{name: "background", in: everywhere &^ drawing, reason: "unsupported_feature", remedy: apartRemedy},
	{name: "deferred", in: everywhere, reason: "unsupported_feature", remedy: apartRemedy}, // xAI
	{name: "moderation", in: everywhere &^ drawing, reason: "unsupported_feature", remedy: apartRemedy},
	{name: "models", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "model_list", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},  // LiteLLM
	{name: "user_config", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy}, // LiteLLM
	{name: "fallbacks", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "plugins", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "preset", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "route", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "safety_model", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy}, // Together
	{name: "assistant", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "assistant_id", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "agent", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy}, // Azure
	{name: "agent_id", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy},
	{name: "agent_reference", in: everywhere, reason: "unsupported_feature", remedy: modelRemedy}, // Azure
	{name: "multi_agent", in: everywhere, reason: "unsupported_feature", remedy: agentsRemedy},    // OpenAI
	{name: "agents", in: everywhere, reason: "unsupported_feature", remedy: agentsRemedy},
	{name: "agent_count", in: everywhere, reason: "unsupported_feature", remedy: agentsRemedy}, // xAI
	{name: "enhancements", in: everywhere, reason: "unsupported_feature", remedy: stepsRemedy}, // Azure
	{name: "guardrails", in: everywhere, reason: "unsupported_feature", remedy: stepsRemedy},
	{name: "guardrail_config", in: everywhere, reason: "unsupported_feature", remedy: stepsRemedy}, // Bedrock
	{name: "amazon-bedrock-guardrailConfig", in: everywhere, reason: "unsupported_feature", remedy: stepsRemedy},
	{name: "performance_config", in: everywhere, reason: "unsupported_feature", remedy: stepsRemedy},
	{name: "context_management", in: everywhere &^ (inResponses | inMessages), reason: "unsupported_feature", remedy: compactRemedy},
	{name: "compaction", in: everywhere, reason: "unsupported_feature", remedy: compactRemedy},
	{name: "compaction_control", in: everywhere, reason: "unsupported_feature", remedy: compactRemedy},

	// Tools that the provider runs.
	{name: "web_search_options", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},
	{name: "web_search", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},
	{name: "search_parameters", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy}, // xAI
	{name: "search_settings", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},   // Groq
	{name: "search_options", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},    // Qwen
	{name: "enable_search", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},     // Qwen
	{name: "search_mode", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},       // Perplexity
	{name: "search_type", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},       // Perplexity
	{name: "compound_custom", in: everywhere, reason: "unbounded_tool", remedy: searchRemedy},   // Groq
	{name: "enable_code_interpreter", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
	{name: "mcp_servers", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
	{name: "container", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
	{name: "server_tools", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
	{name: "builtin_tools", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
	{name: "tool_resources", in: everywhere, reason: "unbounded_tool", remedy: hostedRemedy},
}

const schemaAbout = "counts as the longest of its renderings"

// What a refusal says after the member's name.
const (
	storedRemedy    = "refers to stored input whose size is unknown; send the messages themselves"
	addsRemedy      = "lets the provider add documents and model calls of its own; send the text in messages"
	otherInput      = "is read in place of the input by some servers; send the input of this API alone"
	topMedia        = "is media beside the messages, which has no bound; send images as parts of content"
	recordingRemedy = "refers to a recording whose length is unknown; send it as a file, in a form"
	imageRemedy     = "changes how many tokens an image or video takes; leave it out"
	capRemedy       = "is obeyed over max_tokens or n by some servers; send max_tokens and n"
	configRemedy    = "may hold a cap that is obeyed over max_tokens; send max_tokens and n"
	headersRemedy   = "would be a header that no list here allows; send anthropic-beta as a header, and set others for the provider in the configuration"
	apartRemedy     = "makes the answer come apart from its cost, which nobody would report to this gateway; leave it out and read the stream"
	modelRemedy     = "can change the model and so its price, or add paid steps; name one model and leave it out"
	agentsRemedy    = "lets several models work, each with output of its own; leave it out"
	stepsRemedy     = "adds steps that the provider bills apart; leave it out"
	compactRemedy   = "adds model calls that have no bound; leave it out"
	searchRemedy    = "lets the provider search as often as it likes; leave it out, or use a web search tool with max_uses"
	hostedRemedy    = "lets the provider run tools as often as it likes; run them yourself as function tools"
)

// harmless are documented members of all endpoints that decide no money, unless
// a row above says so. Where strict_body is set, others are refused: a provider
// may read something into them. It is never changed.
var harmless = []string{
	"temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed", "stop", "stop_sequences",
	"logit_bias", "logprobs", "top_logprobs", "echo", "suffix", "user", "metadata", "store", "safety_identifier", "prompt_cache_key",
	"tool_choice", "parallel_tool_calls", "function_call", "reasoning_effort", "reasoning", "verbosity",
	"thinking", "output_config", "output_format", "system", "instructions", "text", "truncation", "include", "cache_control",
	"encoding_format", "dimensions", "input_type", "output_dtype", "output_dimension", "prefix", "safe_prompt", "random_seed", "prompt_mode",
	"return_documents", "top_n", "rank_fields", "audio", "transforms", "usage", "session_id",
	"chat_template_kwargs", "guided_json", "guided_regex", "guided_choice", "ignore_eos", "min_tokens", "skip_special_tokens",
	"add_generation_prompt", "priority", "keep_alive", "options", "disable_reasoning", "include_reasoning", "reasoning_format",
	"generate", "prewarm", "input", "prompt", "diagnostics",
}

// scopeOf is an endpoint's top-level members.
func scopeOf(in endpoints, about string) *scope {
	var own []member
	known := make(map[string]bool)
	for _, m := range topLevel {
		if m.in&in != 0 {
			own = append(own, m)
			known[m.name] = true
		}
	}
	for _, name := range harmless {
		if !known[name] {
			own = append(own, member{name: name})
		}
	}
	return newScope(about, own)
}
