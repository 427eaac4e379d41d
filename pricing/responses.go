package pricing

import (
	"bytes"
	"fmt"
	"strings"

	"aigateway/budget"
)

// responsesMember reads one top-level member of a request to the Responses API.
func (p *parser) responsesMember(name []byte) (err error) {
	c := &p.call
	switch string(name) {
	case "input":
		return p.textOrList(p.responseItem)
	case "instructions":
		return p.textOrList(p.responseItem)
	case "stream":
		c.Stream, err = p.boolean()
	case "max_output_tokens":
		return p.capField(&c.maxOutput)
	case "max_tool_calls":
		n, set, err := p.integer(0, 1000)
		if set {
			c.toolCalls = n
		}
		return err
	case "tools":
		return p.listOrNull(p.tool)
	case "previous_response_id", "conversation", "prompt":
		return p.storedMember(string(name))
	case "prompt_cache_options":
		return p.cacheOptions()
	case "prompt_cache_retention":
		return p.cacheRetention()
	case "generate", "prewarm":
		// A server that does not know them answers all the same, so the cap stays.
		c.prewarm = c.prewarm || p.dec.PeekKind() == 't' || p.dec.PeekKind() == 'f'
		return p.walk()
	case "n", "best_of":
		n, set, err := p.integer(1, maxChoices)
		if set {
			c.choices = max(c.choices, n)
		}
		return err
	case "stream_options":
		return p.walk() // nothing in it makes a stream report its usage
	case "modalities":
		return p.listOrNull(p.modality)
	case "context_management":
		return p.contextManagement()
	default:
		return p.commonMember(name)
	}
	return err
}

// textOrList reads a string, null, or an array of objects.
func (p *parser) textOrList(item func(i int) error) error {
	switch p.dec.PeekKind() {
	case '"', 'n':
		return p.dec.SkipValue()
	case '[':
		return p.array(item)
	}
	return p.wrongType("a string or an array")
}

// storedMember reads a reference to input that the provider keeps. It is
// bounded by the context where the operator allows it.
func (p *parser) storedMember(name string) error {
	if p.dec.PeekKind() == '"' && name == "prompt" {
		return p.dec.SkipValue() // a text, which no server is known to read here
	}
	off := p.dec.PeekKind() == 'n'
	if err := p.walk(); err != nil || off {
		return err
	}
	if p.call.stored == nil {
		p.call.stored = budget.Invalid("unbounded_input", name, name+" refers to stored input whose size is unknown; send the input itself, or set allow_stored_input for the provider, which reserves a whole context")
	}
	return nil
}

// responseItem reads one element of input: a message, a tool call or what it
// gave, or a reference to something stored.
func (p *parser) responseItem(int) error {
	if p.dec.PeekKind() == '"' {
		return p.dec.SkipValue()
	}
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with a type")
	}
	kind, err := "", error(nil)
	err = p.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = p.text()
			return err
		case "content", "output", "summary":
			return p.responseContent()
		case "result":
			// An earlier generated image, which counts as one again.
			if p.dec.PeekKind() != '"' {
				return p.walk()
			}
			return p.pastImage()
		case "file_ids", "files", "attachments", "images", "videos", "audio", "documents":
			return p.refused("", "unbounded_media", "has media whose size is unknown; send images as input_image parts of content")
		}
		if err := p.spelling(name, itemMembers()); err != nil {
			return err
		}
		return p.walkMember(name)
	})
	if err != nil {
		return err
	}
	p.checkItem(kind)
	return nil
}

func itemMembers() []string { return []string{"type", "content", "output", "result", "summary", "id"} }

// checkItem refuses items that stand for something whose size is not in the body.
func (p *parser) checkItem(kind string) {
	c := &p.call
	switch {
	case kind == "item_reference":
		if c.stored == nil {
			field := p.path()
			c.stored = budget.Invalid("unbounded_input", field, field+" refers to a stored item whose size is unknown; send the item itself, or set allow_stored_input for the provider, which reserves a whole context")
		}
	case kind == "", kind == "message", kind == "reasoning",
		strings.HasSuffix(kind, "_call"), strings.HasSuffix(kind, "_call_output"), strings.HasSuffix(kind, "_output"),
		strings.HasPrefix(kind, "mcp_"):
	case c.unbounded == nil:
		field := p.path()
		c.refuse("unbounded_input", field+".type", fmt.Sprintf("%s.type is %q, whose size is unknown; send messages and tool calls", field, clip(kind)))
	}
}

// responseContent reads a message's content or a tool's output: text, one
// part, or parts.
func (p *parser) responseContent() error {
	switch p.dec.PeekKind() {
	case '[':
		return p.array(p.responsePart)
	case '{':
		return p.responsePart(0)
	}
	return p.walk()
}

// responsePart reads one part. It decides by the members that are present.
func (p *parser) responsePart(int) error {
	if p.dec.PeekKind() == '"' {
		return p.dec.SkipValue()
	}
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with a type")
	}
	kind, file := "", filePart{}
	img := image{}
	var url []byte
	hasImage, nested := false, false
	err := p.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = p.text()
			return err
		case "image_url":
			if p.dec.PeekKind() == '{' {
				nested = true
				return p.imageURL()
			}
			if p.dec.PeekKind() == 'n' {
				return p.dec.SkipValue()
			}
			hasImage = true
			url, err = p.media()
			return err
		case "detail":
			detail, err := p.text()
			img.high = boundedDetail(detail)
			return err
		case "file_data":
			return p.fileData(&file)
		case "input_audio":
			return p.inputAudio()
		case "file_id", "file_url", "video_url", "source", "file", "image", "audio", "audio_url", "url", "document":
			return p.refused("", "unbounded_media", "has no bound; send text, or images as data in image_url")
		}
		if err := p.spelling(name, responsePartMembers()); err != nil {
			return err
		}
		return p.walkMember(name)
	})
	if err != nil {
		return err
	}
	if hasImage {
		p.addImage(img, url)
	} else if nested && !img.high {
		p.noteVague() // the detail beside the object does not reach into it
	}
	p.checkPart(kind)
	return nil
}

func responsePartMembers() []string {
	return []string{"type", "image_url", "detail", "file_data", "file_id", "file_url", "input_audio"}
}

func (p *parser) checkPart(kind string) {
	switch kind {
	case "input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text", "input_image", "computer_screenshot", "input_audio", "input_file", "":
		return
	}
	if p.call.unbounded != nil {
		return
	}
	field := p.path()
	p.call.refuse("unbounded_media", field+".type", fmt.Sprintf("%s.type is %q, which has no bound; use input_text or input_image", field, clip(kind)))
}

// boundedDetail reports whether an image's detail keeps it small.
func boundedDetail(detail string) bool { return detail == "high" || detail == "low" }

// addImage keeps one image. Its data is no text.
func (p *parser) addImage(img image, url []byte) {
	if len(p.call.images) == 0 {
		img.field = p.path()
	}
	if len(url) >= 5 && bytes.EqualFold(url[:5], []byte("data:")) {
		p.dataURL(&img, url)
	}
	p.call.images = append(p.call.images, img)
	if !img.high {
		p.noteVague()
	}
}

func (p *parser) noteVague() {
	if p.call.vague == "" {
		p.call.vague = p.path()
	}
}

// pastImage reads the base64 text of an image an earlier answer held.
func (p *parser) pastImage() error {
	img := image{}
	if len(p.call.images) == 0 {
		img.field = p.path()
	}
	data, err := p.media()
	if err != nil {
		return err
	}
	if len(data) > 64 && isBase64(data) {
		p.call.payload += int64(len(data))
		if cfg, err := imageHeader(data); err == nil {
			img.width, img.height = int64(cfg.Width), int64(cfg.Height)
		}
	}
	p.call.images = append(p.call.images, img)
	return nil
}

// filePart is a file in the body.
type filePart struct{ seen bool }

// fileData reads a data URL or plain base64. A PDF is bounded by the context
// where the operator allows it; other files have no bound.
func (p *parser) fileData(f *filePart) error {
	if p.dec.PeekKind() == 'n' {
		return p.dec.SkipValue()
	}
	data, err := p.media()
	if err != nil {
		return err
	}
	f.seen = true
	field := p.path()
	body := data
	if head, rest, ok := bytes.Cut(data, []byte(",")); ok {
		if !bytes.EqualFold(head, []byte("data:application/pdf;base64")) {
			p.call.refuse("unbounded_media", field, field+" is a file without a bound; send text, images or a PDF")
			return nil
		}
		body = rest
	}
	p.addPDF(field, body)
	return nil
}

// addPDF notes a PDF. Its base64 is no text; what is in it is unknown.
func (p *parser) addPDF(field string, data []byte) {
	if isBase64(data) {
		p.call.payload += int64(len(data))
	}
	if p.call.pdf == nil {
		p.call.pdf = budget.Invalid("unbounded_media", field, field+" is a PDF, whose pages nobody can count beforehand; send its text, or set allow_pdf for the provider, which reserves a whole context")
	}
}

// contextManagement reads what the provider may do to a long context. Clearing
// only makes the input smaller; compacting is another call of the model.
func (p *parser) contextManagement() error {
	field := "context_management"
	compacts := false
	edit := func(int) error {
		if p.dec.PeekKind() != '{' {
			compacts = true
			return p.walk()
		}
		kind := ""
		err := p.object(func(name []byte) (err error) {
			if string(name) == "type" {
				kind, err = p.text()
				return err
			}
			return p.walkMember(name)
		})
		compacts = compacts || !strings.HasPrefix(kind, "clear_")
		return err
	}
	var err error
	switch p.dec.PeekKind() {
	case 'n':
		return p.dec.SkipValue()
	case '[':
		err = p.array(edit)
	case '{':
		err = p.object(func(name []byte) error {
			if string(name) == "edits" && p.dec.PeekKind() == '[' {
				return p.array(edit)
			}
			compacts = true
			return p.walk()
		})
	default:
		return p.wrongType("an object")
	}
	if err == nil && compacts {
		p.call.refuse("unsupported_feature", field, field+" adds model calls that have no bound; use clear_… edits only, or leave it out")
	}
	return err
}
