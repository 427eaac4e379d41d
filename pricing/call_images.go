package pricing

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"aigateway/budget"
)

// pictures are the images that a body asks for.
type pictures struct {
	count         int64 // at least 1
	quality, size string
	partials      int64 // unfinished ones, of each
	frames        int64 // of an animation; 0: it is none, or the default
	animated      bool
	faithful      bool // input_fidelity is high
}

// Limits of OpenAI's API: more of either is refused there.
const (
	maxPictures   = 10
	maxPartials   = 3
	maxFrames     = 16
	defaultFrames = 9
)

// pictures are the call's, which a member begins.
func (p *parser) pictures() *pictures {
	if p.call.pictures == nil {
		p.call.pictures = &pictures{count: 1}
	}
	return p.call.pictures
}

// promptText reads a text; an empty one is for the provider to refuse.
func (p *parser) promptText() error {
	if k := p.dec.PeekKind(); k != '"' && k != 'n' {
		return p.wrongType("a string")
	}
	return p.dec.SkipValue()
}

func (p *parser) picturesMember() error {
	n, set, err := p.integer(1, maxPictures)
	if set {
		p.pictures().count = n
	}
	return err
}

func (p *parser) qualityMember() (err error) {
	p.pictures().quality, err = p.text()
	return err
}

// sizeMember keeps the first size it reads; a body that names another by another
// name has the dearest.
func (p *parser) sizeMember() error {
	size, err := p.text()
	if pic := p.pictures(); pic.size == "" {
		pic.size = size
	} else if size != "" && size != pic.size {
		pic.size = "auto"
	}
	return err
}

func (p *parser) partialsMember() error {
	n, set, err := p.integer(0, maxPartials)
	if set {
		p.pictures().partials = n
	}
	return err
}

func (p *parser) formatMember() error {
	format, err := p.text()
	switch format {
	case "gif":
		p.pictures().animated = true
	case "svg":
		field := p.path()
		p.call.refuse("unbounded_media", field, field+" is svg, which another model draws and bills apart; ask for png, webp or jpeg")
	}
	return err
}

func (p *parser) framesMember() error {
	n, set, err := p.integer(1, maxFrames)
	if set {
		p.pictures().frames, p.pictures().animated = n, true
	}
	return err
}

func (p *parser) fidelity() error {
	fidelity, err := p.text()
	p.pictures().faithful = fidelity != "" && fidelity != "low"
	return err
}

// pictureFile takes an image to edit. What it takes of input is the most of the
// model's, whatever it shows.
func (p *parser) pictureFile([]byte) error {
	p.call.images = append(p.call.images, image{field: "image"})
	return nil
}

// pictureSources reads images that a JSON body names or holds, as many as a form
// may have.
func (p *parser) pictureSources() error {
	if len(p.call.images) >= maxParts {
		return tooMany("images", maxParts)
	}
	switch p.dec.PeekKind() {
	case 'n':
		return p.dec.SkipValue()
	case '[':
		return p.array(func(int) error { return p.pictureSources() })
	case '"':
		p.call.images = append(p.call.images, image{field: p.path()})
		return p.pictureText()
	case '{':
	default:
		return p.wrongType("an image, or a list of them")
	}
	p.call.images = append(p.call.images, image{field: p.path()})
	return p.object(func([]byte) error {
		if p.dec.PeekKind() == '"' {
			return p.pictureText()
		}
		return p.walk()
	})
}

// pictureText reads a URL or an id; what a data URL holds is no text.
func (p *parser) pictureText() error {
	url, err := p.media()
	if err == nil && len(url) >= 5 && bytes.EqualFold(url[:5], []byte("data:")) {
		p.dataURL(&image{}, url)
	}
	return err
}

func completeImages(c *Call) error {
	if c.pictures == nil {
		c.pictures = &pictures{count: 1}
	}
	for i := range c.images {
		c.images[i].high = !c.pictures.faithful
	}
	return nil
}

// drawRule is what an image costs that a model makes, by quality and size.
type drawRule struct {
	quality, size string                      // of a body that names none; empty: the model chooses
	partial       int64                       // output tokens of an unfinished image
	text          int64                       // output tokens of text beside an image, at most
	tokens        map[string]map[string]int64 // output tokens by quality and size
	factors       map[string]int64            // by quality, see area
	pixels        int64                       // the most an image has, of a model with factors
}

// tokensOf is the most output tokens of one image. A quality or a size that the
// rule does not know is taken for the dearest: the provider refuses it, or takes
// another in its place. ok is false where even that is not known.
func (r *drawRule) tokensOf(quality, size string) (n int64, ok bool) {
	for q, sizes := range r.tokens {
		for s, tokens := range sizes {
			if matches(quality, q, r.tokens) && matches(size, s, sizes) {
				n, ok = max(n, tokens), true
			}
		}
	}
	for q, factor := range r.factors {
		if matches(quality, q, r.factors) {
			n, ok = max(n, r.area(factor, size)), true
		}
	}
	return n, ok
}

// matches reports whether an entry of a table counts for a name: its own, or all
// where it has none.
func matches[V any](name, entry string, table map[string]V) bool {
	if _, known := table[name]; known {
		return name == entry
	}
	return true
}

// area is how OpenAI counts the output tokens of gpt-image-2 and later, by the
// calculator beside its guide: a grid whose long edge has as many cells as the
// quality's factor and whose short edge has its share, times a weight that grows
// with the pixels. A square of all pixels has the most.
// https://developers.openai.com/api/docs/guides/image-generation
func (r *drawRule) area(factor int64, size string) int64 {
	const offset, scale = 2_000_000, 4_000_000
	const slimmest = 3 // of edges further apart the grid would have next to no cells; the dearest counts
	long, short, ok := edges(size)
	if !ok || long*short > r.pixels || long > slimmest*short {
		return (factor*factor*(offset+r.pixels) + scale - 1) / scale
	}
	cells := (2*factor*short + long) / (2 * long)
	return (factor*cells*(offset+long*short) + scale - 1) / scale
}

// edges reads WIDTHxHEIGHT.
func edges(size string) (long, short int64, ok bool) {
	w, h, ok := strings.Cut(size, "x")
	a, errA := strconv.ParseInt(w, 10, 32)
	b, errB := strconv.ParseInt(h, 10, 32)
	if !ok || errA != nil || errB != nil || a < 1 || b < 1 {
		return 0, 0, false
	}
	return max(a, b), min(a, b), true
}

// draw bounds the images of a call: by the piece where the model is billed so,
// else by output tokens.
func (m *Model) draw(a *arithmetic, c *Call, tier *rates) error {
	pic := c.pictures
	if pic == nil {
		return nil
	}
	count := pic.count
	if pic.animated {
		frames := pic.frames
		if frames == 0 {
			frames = defaultFrames
		}
		count *= frames
	}
	r := m.Row.rules.draws
	if r == nil {
		r = &drawRule{}
	}
	quality, size := named(pic.quality, r.quality), named(pic.size, r.size)
	if fee, ok := m.pictureFee(quality, size); ok {
		a.fee(feeImage, count, fee)
		return nil
	}
	tokens, ok := r.tokensOf(quality, size)
	if !ok {
		return budget.Invalid("unbounded_media", "model", fmt.Sprintf("nobody has said what an image of %s costs; name another model, or add to the configuration:\nmodels:\n- model: %s\n  prices:\n  - {fees: {image: <USD>}}", m.Slug, m.Slug))
	}
	a.made = append(a.made, madeTokens{"images", count*tokens + pic.count*pic.partials*r.partial, tier.price(outputImage),
		fmt.Sprintf("%d images of %d tokens, %d unfinished ones", count, tokens, pic.count*pic.partials)})
	if r.text > 0 {
		a.made = append(a.made, madeTokens{"text beside images", pic.count * r.text, tier.price(output), "what the model may think"})
	}
	return nil
}

// named is what a body says, else the model's default.
func named(said, standard string) string {
	if said == "" {
		return standard
	}
	return said
}

// pictureFee is what an image costs by the piece: image, and where some cost less
// image_SIZE, image_QUALITY or image_QUALITY_SIZE. Sizes begin with a digit and
// qualities do not: what a body calls a quality must find the price of no size,
// and none of input.
func (m *Model) pictureFee(quality, size string) (int64, bool) {
	fees := m.Row.fees
	if size != "" && !isDigit(size[0]) {
		size = ""
	}
	if quality != "" && (isDigit(quality[0]) || strings.Contains(quality, "_") || feeImage+"_"+quality == feeInputImage) {
		quality = ""
	}
	for _, key := range [...]string{quality + "_" + size, size, quality} {
		if fee, ok := fees[feeImage+"_"+key]; ok {
			return fee, true
		}
	}
	fee, ok := fees[feeImage]
	return fee, ok
}
