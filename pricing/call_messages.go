package pricing

import (
	"fmt"
	"strings"
)

func (p *parser) turnsList() error {
	if p.dec.PeekKind() == '[' {
		return p.conversation((*parser).turn)
	}
	return p.listOrNull(p.turn)
}

// turn reads one element of messages.
func (p *parser) turn(int) error {
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with role and content")
	}
	before := p.dec.InputOffset()
	defer p.short(before)
	return p.object(func(name []byte) error {
		id, err := p.find(turnObject, name)
		switch id {
		case isContent:
			return p.blocks()
		case isTools:
			return p.toolsMember()
		}
		return err
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

// toolChange reads the tool that a block adds or removes: the name of one that
// counts once more, should the provider show it there, too; or a definition,
// which is a tool like those beside the messages.
// https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
func (p *parser) toolChange() (name string, defined bool, err error) {
	if p.dec.PeekKind() != '{' {
		return "", false, p.walk()
	}
	err = p.object(func(member []byte) error {
		id, err := p.find(toolChangeObject, member)
		switch id {
		case isName:
			name, err = p.word()
		case isDefinition:
			defined = true
			return p.tool(0)
		}
		return err
	})
	return name, defined, err
}

// source is where an image or a document block has its data.
type source struct {
	set     bool
	kind    string
	mime    string
	data    []byte
	url     bool
	file    bool // of the account, by its id
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
	kind, tool, defined, src := "", "", false, source{}
	err := p.object(func(name []byte) error {
		id, err := p.find(blockObject, name)
		switch id {
		case isType:
			kind, err = p.text()
		case isSource:
			return p.source(&src)
		case isContent:
			return p.blocks()
		case isTools:
			return p.innerTools()
		case isInput:
			return p.argumentsMember()
		case isName:
			tool, err = p.word()
		case isTool:
			tool, defined, err = p.toolChange()
		}
		return err
	})
	if err != nil {
		return err
	}
	if kind == "tool_reference" || kind == "tool_addition" && !defined {
		p.call.references = append(p.call.references, tool)
	}
	return p.checkBlock(kind, &src)
}

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
	case "text", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "search_result", "tool_reference", "tool_addition", "tool_removal", "mcp_tool_use", "fallback":
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
	return p.object(func(name []byte) error {
		id, err := p.find(sourceObject, name)
		switch id {
		case isType:
			s.kind, err = p.text()
		case isMediaType:
			s.mime, err = p.text()
		case isData:
			s.data, err = p.media()
		case isURL:
			s.url = true
			_, err = p.media()
		case isFileID:
			s.file = p.dec.PeekKind() != 'n'
			return p.walk()
		case isContent:
			s.content = true
			return p.blocks()
		}
		return err
	})
}

// addSource sorts media by what is there, not only by what it is called.
func (p *parser) addSource(kind string, s *source) {
	switch {
	case s.file:
		p.addDocument(s.field, s.field+" is a file of the account, whose size is unknown")
		p.call.pdf.unproven = true
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
		p.addDocument(s.field, s.field+" is a file elsewhere, whose size is unknown")
		p.call.pdf.unproven = true
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
