package pricing

import (
	"bytes"
	"fmt"
	"strings"
)

func (p *parser) itemsOrText() error {
	if p.dec.PeekKind() == '[' {
		return p.conversation((*parser).responseItem)
	}
	return p.textOrList(p.responseItem)
}

func (p *parser) toolCallsMember() error {
	n, set, err := p.integer(0, maxToolCalls)
	if set {
		p.call.toolCalls = n
	} else if err == nil {
		p.call.toolNull = int(p.dec.InputOffset()) - len("null")
	}
	return err
}

// prewarmMember reads a member that asks to fill the cache. A server that does
// not know it answers all the same, so the cap stays.
func (p *parser) prewarmMember() error {
	p.call.prewarm = p.call.prewarm || p.dec.PeekKind() == 't' || p.dec.PeekKind() == 'f'
	return p.walk()
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
	kind := ""
	img := image{}
	var url []byte
	hasImage, nested := false, false
	err := p.object(func(name []byte) error {
		id, err := p.find(itemPartObject, name)
		switch id {
		case isType:
			kind, err = p.text()
		case isImageURL:
			if p.dec.PeekKind() == '{' {
				nested = true
				return p.imageURL()
			}
			if p.dec.PeekKind() == 'n' {
				return p.dec.SkipValue()
			}
			hasImage = true
			url, err = p.media()
		case isDetail:
			detail, err := p.text()
			img.high = boundedDetail(detail)
			return err
		case isFileData:
			return p.fileData()
		case isInputAudio:
			return p.inputAudio()
		case isTools:
			return p.innerTools()
		}
		return err
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

func (p *parser) checkPart(kind string) {
	switch kind {
	case "input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text", "encrypted_content",
		"input_image", "computer_screenshot", "input_audio", "input_file", "":
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

// pastImage reads the base64 text of an image an earlier answer held, and how
// many bytes of it are no text.
func (p *parser) pastImage() (img image, payload int64, err error) {
	if len(p.call.images) == 0 {
		img.field = p.path()
	}
	data, err := p.media()
	if err != nil {
		return img, 0, err
	}
	if len(data) > 64 && isBase64(data) {
		payload = int64(len(data))
		if cfg, err := imageHeader(data); err == nil {
			img.width, img.height = int64(cfg.Width), int64(cfg.Height)
		}
	}
	return img, payload, nil
}

// fileData reads a data URL or plain base64. A PDF is bounded by the context
// where the operator allows it; other files have no bound.
func (p *parser) fileData() error {
	if p.dec.PeekKind() == 'n' {
		return p.dec.SkipValue()
	}
	data, err := p.media()
	if err != nil {
		return err
	}
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

// contextManagement reads what the provider may do to a long context. Clearing
// only makes the input smaller. Compacting is another call of the model, of which
// neither OpenAI nor Anthropic publishes how often it may happen in one answer or
// how long the summary gets (developers.openai.com/api/docs/guides/compaction,
// platform.claude.com/docs/en/build-with-claude/compaction-threshold).
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
		instead := ""
		if p.call.Endpoint == Responses {
			instead = " and post to /v1/responses/compact, which has a bound"
		}
		p.call.refuse("unsupported_feature", field, field+" adds calls of the model, as many and as long as the provider likes; use clear_… edits only, or leave it out"+instead)
	}
	return err
}
