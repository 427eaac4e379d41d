package pricing

import (
	"fmt"
	"strings"
)

// messagesMember reads one top-level member of a request to Anthropic's
// Messages API.
func (p *parser) messagesMember(name []byte) (err error) {
	c := &p.call
	switch string(name) {
	case "messages":
		return p.listOrNull(p.turn)
	case "system":
		return p.blocks()
	case "stream":
		c.Stream, err = p.boolean()
	case "max_tokens":
		return p.capField(&c.maxTokens)
	case "tools":
		return p.listOrNull(p.tool)
	case "n", "best_of":
		n, set, err := p.integer(1, maxChoices)
		if set {
			c.choices = max(c.choices, n)
		}
		return err
	case "context_management":
		return p.contextManagement()
	case "stream_options":
		return p.walk()
	default:
		return p.commonMember(name)
	}
	return err
}

// turn reads one element of messages.
func (p *parser) turn(int) error {
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with role and content")
	}
	return p.object(func(name []byte) error {
		switch string(name) {
		case "content":
			return p.blocks()
		case "images", "videos", "files", "file_ids", "documents", "attachments", "audio":
			return p.refused("", "unbounded_media", "has media whose size is unknown; send image blocks in content")
		}
		if err := p.spelling(name, messageMembers()); err != nil {
			return err
		}
		return p.walkMember(name)
	})
}

// blocks reads content: a text, one block, or blocks.
func (p *parser) blocks() error {
	switch p.dec.PeekKind() {
	case '"', 'n':
		return p.dec.SkipValue()
	case '{':
		return p.block(0)
	case '[':
		return p.array(p.block)
	}
	return p.wrongType("a string or an array of blocks")
}

// source is where an image or a document block has its data.
type source struct {
	set     bool
	kind    string
	mime    string
	data    []byte
	url     bool
	content bool // blocks, which are read by themselves
	field   string
}

// block reads one content block, at any depth: tool results hold blocks too.
func (p *parser) block(int) error {
	switch p.dec.PeekKind() {
	case '"':
		return p.dec.SkipValue()
	case '{':
	default:
		return p.wrongType("an object with a type")
	}
	kind, src := "", source{}
	err := p.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = p.text()
			return err
		case "source":
			return p.source(&src)
		case "content":
			return p.blocks()
		case "image_url", "input_audio", "video_url", "file", "video", "audio", "image":
			return p.refused("", "unbounded_media", "has no bound; send text, or image blocks with a source")
		case "file_id", "file_ids":
			return p.refused("", "unbounded_media", "refers to a file whose size is unknown; send its text, or images as base64")
		}
		if err := p.spelling(name, blockMembers()); err != nil {
			return err
		}
		return p.walkMember(name)
	})
	if err != nil {
		return err
	}
	return p.checkBlock(kind, &src)
}

func blockMembers() []string { return []string{"type", "source", "content", "file_id"} }

func (p *parser) checkBlock(kind string, src *source) error {
	media := kind == "image" || kind == "document"
	switch {
	case src.set:
		p.addSource(kind, src)
	case media:
		field := p.path() + ".source"
		p.call.refuse("unbounded_media", field, field+" is no object, and what it stands for has no bound; send base64 data or a url in it")
	}
	switch {
	case kind == "":
		return p.invalid("has no type; write text or image")
	case media:
		return nil
	case knownBlock(kind):
		return nil
	}
	if p.call.unbounded == nil {
		field := p.path()
		p.call.refuse("unbounded_media", field+".type", fmt.Sprintf("%s.type is %q, which has no bound; use text or image", field, clip(kind)))
	}
	return nil
}

// knownBlock lists the blocks whose whole content is in the body.
func knownBlock(kind string) bool {
	switch kind {
	case "text", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "search_result", "tool_reference", "mcp_tool_use", "fallback":
		return true
	}
	return strings.HasSuffix(kind, "_result") || strings.HasSuffix(kind, "_error")
}

// source reads the source of an image or document. A search result's is a text.
func (p *parser) source(s *source) error {
	if p.dec.PeekKind() != '{' {
		return p.walk()
	}
	s.set, s.field = true, p.path()
	return p.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			s.kind, err = p.text()
			return err
		case "media_type":
			s.mime, err = p.text()
			return err
		case "data":
			s.data, err = p.media()
			return err
		case "url":
			s.url = true
			_, err = p.media()
			return err
		case "content":
			s.content = true
			return p.blocks()
		case "file_id":
			return p.refused("", "unbounded_media", "refers to a file whose size is unknown; send its text, or images as base64")
		}
		if err := p.spelling(name, []string{"type", "media_type", "data", "url", "content", "file_id"}); err != nil {
			return err
		}
		return p.walkMember(name)
	})
}

// addSource sorts media by what is there, not only by what it is called.
func (p *parser) addSource(kind string, s *source) {
	switch {
	case s.data != nil && s.url: // which of them is read is the provider's choice
		p.call.refuse("unbounded_media", s.field, s.field+" has data and a url; send one of them")
	case s.data != nil && s.mime == "application/pdf":
		p.addPDF(s.field, s.data)
	case s.data != nil && s.kind == "text" && (s.mime == "" || s.mime == "text/plain"):
	case s.data != nil && imageMIME(s.mime):
		img := image{field: s.field, high: true}
		if isBase64(s.data) {
			p.call.payload += int64(len(s.data))
			if cfg, err := imageHeader(s.data); err == nil {
				img.width, img.height = int64(cfg.Width), int64(cfg.Height)
			}
		}
		p.call.images = append(p.call.images, img)
	case s.data != nil:
		p.call.refuse("unbounded_media", s.field, fmt.Sprintf("%s is of type %q, which has no bound; send png, jpeg, gif or webp", s.field, clip(s.mime)))
	case s.url && kind == "image":
		p.call.images = append(p.call.images, image{field: s.field, high: true})
	case s.url:
		p.call.refuse("unbounded_media", s.field, s.field+" is a file elsewhere, whose size is unknown; send its text")
	case !s.content && (kind == "image" || kind == "document"):
		p.call.refuse("unbounded_media", s.field, s.field+" has neither data, url nor content, and so no bound; send base64 data or a url")
	}
}

// imageMIME lists the image types with a known bound.
func imageMIME(mime string) bool {
	switch strings.ToLower(mime) {
	case "image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp":
		return true
	}
	return false
}
