package pricing

import (
	"bytes"
	"fmt"
	"unicode"
)

func (p *parser) messagesList() error {
	if p.dec.PeekKind() == '[' {
		return p.conversation((*parser).message)
	}
	return p.listOrNull(p.message)
}

func (p *parser) streamMember() (err error) {
	p.call.Stream, err = p.boolean()
	return err
}

func (p *parser) serviceTierMember() (err error) {
	p.call.serviceTier, err = p.text()
	return err
}

func (p *parser) speedMember() (err error) {
	p.call.speed, err = p.text()
	return err
}

func (p *parser) geoMember() (err error) {
	p.call.geo, err = p.text()
	return err
}

func (p *parser) choicesMember() error {
	n, set, err := p.integer(1, maxChoices)
	if set {
		p.call.choices = max(p.call.choices, n)
	}
	return err
}

func (p *parser) modalitiesMember() error { return p.listOrNull(p.modality) }

func (p *parser) predictionMember() error {
	p.call.prediction = p.dec.PeekKind() != 'n'
	return p.walk()
}

func (p *parser) toolsMember() error {
	if p.memory != nil && len(p.dec.open) == 1 {
		return p.toolsAgain()
	}
	return p.toolList()
}

func (p *parser) toolList() error {
	return p.toolText(func() error { return p.listOrNull(p.tool) })
}

// toolCalls reads the calls of an earlier answer, or the one call of old.
func (p *parser) toolCalls() error {
	switch p.dec.PeekKind() {
	case '[':
		return p.array(func(int) error { return p.toolCalls() })
	case '{':
		return p.object(func(name []byte) error {
			id, err := p.find(toolCallObject, name)
			switch id {
			case isFunction:
				return p.toolCalls()
			case isArguments:
				return p.argumentsMember()
			case isName:
				return p.called()
			}
			return err
		})
	}
	return p.walk()
}

func (p *parser) maxTokensMember() error     { return p.capField(&p.call.maxTokens) }
func (p *parser) maxCompletionMember() error { return p.capField(&p.call.maxCompletion) }
func (p *parser) maxOutputMember() error     { return p.capField(&p.call.maxOutput) }

// foreignCapMember reads the cap of another API. Whether it is obeyed nobody
// knows, so it can only make the bound larger.
func (p *parser) foreignCapMember() error {
	if p.dec.PeekKind() != '0' {
		return p.walk()
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	n, ok := whole(raw)
	if !ok || n < 0 || n > maxCap { // such as -1, which is no limit to some
		field := p.path()
		p.call.refuse("unsupported_feature", field, field+" is another API's cap, and none that has a bound; leave it out")
		return nil
	}
	p.call.foreignCap = max(p.call.foreignCap, n)
	return nil
}

// serverOptions reads an object of settings that some servers obey over the
// members beside it.
func (p *parser) serverOptions() error {
	if p.dec.PeekKind() != '{' {
		return p.walk()
	}
	return p.object(func(name []byte) error {
		_, err := p.find(optionsObject, name)
		return err
	})
}

func (p *parser) modelMember() error {
	if p.dec.PeekKind() != '"' {
		if p.dec.PeekKind() == 'n' { // null is absent, and where a default is put
			err := p.dec.SkipValue()
			end := int(p.dec.InputOffset())
			p.call.model = span{end - len("null"), end}
			return err
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
	end := int(p.dec.InputOffset())
	*f = capField{set: set, null: null, value: v, at: end - len("null")}
	for start := end; set && start > 0 && !bytes.ContainsRune([]byte(": \t\r\n"), rune(p.call.body[start-1])); start-- {
		f.width++
	}
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
	if err := p.dec.bracket(); err != nil {
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
	before := p.dec.InputOffset()
	defer p.short(before)
	return p.object(func(name []byte) error {
		id, err := p.find(messageObject, name)
		switch id {
		case isContent:
			switch p.dec.PeekKind() {
			case '[':
				return p.array(p.part)
			case '"', 'n':
				return p.dec.SkipValue()
			}
			return p.wrongType("a string or an array of parts")
		case isRole:
			return p.role()
		case isTools:
			return p.toolsMember()
		case isToolCalls:
			return p.toolCalls()
		}
		return err
	})
}

// role reads a message's role. Moonshot's role cache stands for messages that
// it keeps.
func (p *parser) role() error {
	if p.dec.PeekKind() != '"' {
		return p.walk()
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	role, err := unquote(raw)
	switch string(role) { // without a copy: a body has a thousand
	case "cache":
		field := p.path()
		p.call.refuse("unbounded_input", field, field+" refers to cached messages whose size is unknown; send the messages themselves")
	case "tool", "function":
		p.call.results++
	}
	return err
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
		id, err := p.find(cacheOptionsObject, name)
		switch id {
		case isMode:
			mode, err := p.text()
			p.call.cacheManual = mode == "explicit"
			return err
		case isTTL:
			raw, err := p.dec.ReadValue()
			switch string(raw) {
			case "null", `"30m"`, `"5m"`: // OpenAI's and Moonshot's defaults
			default:
				p.call.cacheLong = p.call.cacheLong || err == nil
			}
			return err
		case isPrewarm:
			return p.prewarmMember()
		}
		return err
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
		switch string(name) { // nothing else passes, so nothing has to be guarded
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
