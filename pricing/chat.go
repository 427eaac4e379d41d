package pricing

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// chatMember reads one top-level member of a chat completion request.
func (p *parser) chatMember(name []byte) (err error) {
	c := &p.call
	switch string(name) {
	case "messages":
		return p.listOrNull(p.message)
	case "stream":
		c.Stream, err = p.boolean()
	case "stream_options":
		return p.streamOptions()
	case "max_tokens":
		return p.capField(&c.maxTokens)
	case "max_completion_tokens":
		return p.capField(&c.maxCompletion)
	case "n", "best_of":
		n, set, err := p.integer(1, maxChoices)
		if set {
			c.choices = max(c.choices, n)
		}
		return err
	case "tools":
		return p.listOrNull(p.tool)
	case "modalities":
		return p.listOrNull(p.modality)
	case "prediction":
		c.prediction = p.dec.PeekKind() != 'n'
		return p.walk()
	case "prompt":
		return p.prompt()
	case "prompt_cache_options":
		return p.cacheOptions()
	case "prompt_cache_retention":
		return p.cacheRetention()
	default:
		return p.commonMember(name)
	}
	return err
}

// commonMember reads what chat and embeddings share.
func (p *parser) commonMember(name []byte) (err error) {
	c := &p.call
	switch string(name) {
	case "model":
		return p.modelMember()
	case "service_tier":
		c.serviceTier, err = p.text()
	case "speed":
		c.speed, err = p.text()
	case "inference_geo":
		c.geo, err = p.text()
	case "extra_body", "google":
		return p.extraBody()
	case "provider":
		return p.routingMember()
	default:
		if reason, remedy := refusedMember(name); reason != "" {
			return p.refused(string(name), reason, remedy)
		}
		if err := p.spelling(name, topMembers()); err != nil {
			return err
		}
		if c.unread == "" && !harmless(name) {
			c.unread = string(name)
		}
		return p.walkMember(name)
	}
	return err
}

// topMembers, messageMembers and partMembers decide money; see spelling.
func topMembers() []string {
	return []string{"model", "messages", "max_tokens", "max_completion_tokens", "n", "best_of", "stream", "stream_options",
		"tools", "modalities", "service_tier", "speed", "prompt", "input", "web_search_options", "previous_response_id",
		"max_output_tokens", "max_tool_calls", "conversation", "system", "instructions", "documents", "query", "max_tokens_per_doc",
		"max_chunks_per_doc", "prompt_cache_options", "prompt_cache_retention", "cache_control", "inference_geo", "background", "fallbacks",
		"context_management", "mcp_servers", "container", "provider"}
}

func messageMembers() []string { return []string{"content", "audio", "images", "files"} }

func partMembers() []string {
	return []string{"type", "image_url", "input_audio", "file", "video_url"}
}

// spelling refuses a member that some servers, those that match names without
// regard to case, take for one that decides money: {"max_tokens":1,
// "Max_Tokens":100000} has a cap of 1 to most and of 100000 to them.
func (p *parser) spelling(name []byte, members []string) error {
	plain := true
	for _, c := range name {
		plain = plain && (c < 'A' || c > 'Z') && c < utf8.RuneSelf
	}
	if plain {
		return nil
	}
	for _, m := range members {
		if bytes.EqualFold(name, []byte(m)) {
			return p.invalid(fmt.Sprintf("is spelt like %s; write %s in lower case", m, m))
		}
	}
	return nil
}

func (p *parser) modelMember() error {
	if p.dec.PeekKind() != '"' {
		if p.dec.PeekKind() == 'n' {
			return p.dec.SkipValue() // null is absent
		}
		return p.wrongType("a string: provider/model")
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	end := int(p.dec.InputOffset())
	p.call.model = span{end - len(raw), end}
	s, err := unquote(raw)
	if err != nil {
		return err
	}
	if len(s) > maxModel {
		return p.invalid(fmt.Sprintf("is %d bytes long; use at most %d", len(s), maxModel))
	}
	if bytes.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		// It would reach the terminals of those who read usage.
		return p.invalid("holds characters that cannot be printed; name a model as provider/model")
	}
	p.call.Model = string(s)
	return nil
}

func (p *parser) capField(f *capField) error {
	null := p.dec.PeekKind() == 'n'
	least := int64(1) // 0 is no limit to some servers
	if p.call.Endpoint == Messages {
		least = 0 // only fills the cache
	}
	v, set, err := p.integer(least, maxCap)
	*f = capField{set: set, null: null, value: v, at: int(p.dec.InputOffset()) - len("null")}
	return err
}

func (p *parser) streamOptions() error {
	o := &p.call.options
	switch o.kind = p.dec.PeekKind(); o.kind {
	case 'n':
		err := p.dec.SkipValue()
		o.at = int(p.dec.InputOffset()) - len("null")
		return err
	case '{':
	default:
		return p.wrongType("an object")
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	o.empty, o.at = true, int(p.dec.InputOffset())
	return p.members(func(name []byte) (err error) {
		o.empty = false
		switch string(name) {
		case "include_usage":
			o.include = p.dec.PeekKind()
			_, err = p.boolean()
			o.includeEnd = int(p.dec.InputOffset())
			o.includeAt = o.includeEnd - len("true")
			if o.include == 'f' {
				o.includeAt--
			}
			return err
		case "continuous_usage_stats":
			o.continuous, err = p.boolean()
			return err
		}
		return p.walkMember(name)
	})
}

// listOrNull reads an array of the member just named, or null.
func (p *parser) listOrNull(item func(i int) error) error {
	switch p.dec.PeekKind() {
	case '[':
		return p.array(item)
	case 'n':
		return p.dec.SkipValue()
	}
	return p.wrongType("an array")
}

func (p *parser) message(int) error {
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with role and content")
	}
	return p.object(func(name []byte) error {
		switch string(name) {
		case "content":
			switch p.dec.PeekKind() {
			case '[':
				return p.array(p.part)
			case '"', 'n':
				return p.dec.SkipValue()
			}
			return p.wrongType("a string or an array of parts")
		case "audio":
			return p.refused("", "unbounded_input", "refers to an earlier answer's audio, whose length is unknown; send its transcript as text")
		case "images", "videos", "files", "file_ids", "documents", "attachments":
			return p.refused("", "unbounded_media", "has media whose size is unknown; send images as image_url parts of content")
		}
		if err := p.spelling(name, messageMembers()); err != nil {
			return err
		}
		return p.walkMember(name)
	})
}

func (p *parser) modality(int) error {
	s, err := p.text()
	switch s {
	case "text", "":
	case "audio":
		p.call.audioOut = true
	default:
		p.call.refuse("unbounded_media", "modalities", fmt.Sprintf("modalities asks for %s output, which has no bound; ask for text", clip(s)))
	}
	return err
}

// prompt is no chat member to OpenAI, but others read it: as text, or as a
// reference to a stored one.
func (p *parser) prompt() error {
	switch p.dec.PeekKind() {
	case '"', 'n':
		return p.dec.SkipValue()
	case '{':
		return p.refused("", "unbounded_input", "refers to a stored prompt whose size is unknown; send it as messages")
	}
	return p.wrongType("messages instead")
}

// cacheOptions reads OpenAI's prompt_cache_options.
func (p *parser) cacheOptions() error {
	switch p.dec.PeekKind() {
	case '{':
	case 'n':
		return p.dec.SkipValue()
	default:
		return p.wrongType("an object")
	}
	return p.object(func(name []byte) error {
		switch string(name) {
		case "mode":
			mode, err := p.text()
			p.call.cacheManual = mode == "explicit"
			return err
		case "ttl":
			raw, err := p.dec.ReadValue()
			if err == nil && string(raw) != "null" && string(raw) != `"30m"` {
				p.call.cacheLong = true
			}
			return err
		}
		return p.walkMember(name)
	})
}

// cacheRetention reads OpenAI's older way to ask for long-lived cache writes.
func (p *parser) cacheRetention() error {
	retention, err := p.text()
	p.call.cacheLong = p.call.cacheLong || retention != "" && retention != "in_memory" && retention != "in-memory"
	return err
}

// extraBody reads Gemini's extension object: what is in it may name cached
// input or hosted tools, so only members known to be harmless have a bound.
func (p *parser) extraBody() error {
	if p.dec.PeekKind() != '{' {
		return p.walk()
	}
	return p.object(func(name []byte) error {
		switch string(name) {
		case "google", "extra_body":
			return p.extraBody()
		case "thinking_config", "thought_tag_marker", "safety_settings":
			return p.walk()
		}
		return p.refused("", "unsupported_feature", "has no bound; send thinking_config, thought_tag_marker or safety_settings only")
	})
}

// refused reads a member without a bound. null, false and [] ask for nothing.
func (p *parser) refused(field, reason, remedy string) error {
	k := p.dec.PeekKind()
	if k == '"' || k == '0' || k == '{' || k == '[' || k == 't' {
		if field == "" && p.call.unbounded == nil { // a path costs more than the member
			field = p.path()
		}
	}
	start := p.dec.InputOffset()
	if err := p.walk(); err != nil {
		return err
	}
	raw := bytes.TrimLeft(p.call.body[start:p.dec.InputOffset()], " \t\r\n:,")
	if k == 'n' || k == 'f' || k == '[' && len(bytes.Trim(raw, "[] \t\r\n")) == 0 {
		return nil
	}
	p.call.refuse(reason, field, field+" "+remedy)
	return nil
}

// refusedMember knows the top-level members that make a call's cost depend on
// something outside its body.
func refusedMember(name []byte) (reason, remedy string) {
	switch string(name) {
	case "previous_response_id", "conversation":
		return "unbounded_input", "refers to stored input whose size is unknown; send the messages themselves"
	case "data_sources", "dataSources":
		return "unbounded_input", "lets the provider add documents and model calls of its own; send the text in messages"
	case "n_predict", "num_predict", "max_new_tokens", "max_gen_len", "n_cmpl", "num_return_sequences":
		return "unsupported_feature", "is obeyed over max_tokens or n by some servers; send max_tokens and n"
	case "chat_template":
		return "unbounded_input", "can expand to any length; leave it out"
	case "background", "deferred", "moderation":
		return "unsupported_feature", "makes the answer come apart from its cost; leave it out"
	case "web_search_options", "search_parameters", "search_settings", "enable_search", "web_search", "compound_custom":
		return "unbounded_tool", "lets the provider search as often as it likes; leave it out, or use a web search tool with max_uses"
	case "mcp_servers", "container":
		return "unbounded_tool", "lets the provider run tools as often as it likes; run them yourself as function tools"
	case "context_management", "compaction":
		return "unsupported_feature", "adds model calls that have no bound; leave it out"
	case "models", "fallbacks", "plugins", "preset", "route":
		return "unsupported_feature", "can change the model and so its price, or add paid steps; name one model and leave it out"
	case "file_ids", "files":
		return "unbounded_media", "refers to files whose size is unknown; send their text in messages"
	}
	return "", ""
}
