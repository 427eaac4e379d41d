package pricing

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"aigateway/budget"

	"golang.org/x/text/unicode/norm"
)

// input fills in the most input tokens and the dearest price they can have.
func (m *Model) input(b *Bound, c *Call) error {
	a, r := &b.sum, m.Row
	if err := m.media(a, c); err != nil {
		return err
	}
	m.text(a, c)
	a.input = a.text + a.overhead + a.images + a.audio + a.documents
	if err := m.hide(a, c); err != nil {
		return err
	}
	if limit := m.inputLimit(c); limit > 0 && a.input > limit {
		a.input, a.clamped = limit, true
	}
	if !a.silent {
		a.perDigit = r.rules.perByte.ceil(1)
	}
	if c.Endpoint.generates() && m.honouredCap(c) < 0 && !a.silent {
		a.slack = r.rules.perByte.ceil(slack)
	}
	if err := m.hosted(b, c); err != nil {
		return err
	}
	reach := a.input + a.slack + a.rounds(a.limit, a.slack) // reports count all rounds together
	tier := at(r.tiers, reach)
	if next := slices.IndexFunc(r.tiers, func(t rates) bool { return t.from > tier.from }); next >= 0 {
		a.ceiling = r.tiers[next].from
	}
	a.tier, a.routed = tier.from, m.routesHosts()
	if err := m.prices(a, c, tier); err != nil {
		return err
	}
	switch c.Endpoint {
	case Images, ImageEdits:
		return m.draw(a, c, tier)
	case Transcriptions, Translations:
		return m.hear(a, c, tier)
	case Speech:
		return m.speak(a, c, tier)
	}
	return nil
}

// text counts what can become text tokens, and what comes on top of it.
func (m *Model) text(a *arithmetic, c *Call) {
	r := m.Row.rules
	if c.Endpoint == Rerank && m.Row.bySearchUnit() {
		return // no tokens are billed
	}
	a.overhead = r.overhead.of(c)
	rendered := c.rendered + toolFrame*c.tools + c.repeated()
	if r.reprints {
		rendered += c.reprinted()
	}
	a.rendered = r.perByte.ceil(rendered)
	switch {
	case c.Endpoint == Rerank:
		a.text = c.rank.tokens(c.body, r.perByte, r.nfkc)
		return
	case !c.tokenInput:
		m.count(a, c, rendered)
	default: // begin and end marks per item come on top of the ids
		a.text = c.tokens + 2*c.items
		if c.Endpoint == Completions { // such as a suffix
			rest := int64(len(c.body) - (c.prompt.end - c.prompt.at))
			if r.nfkc {
				rest += growth(c.body[:c.prompt.at]) + growth(c.body[c.prompt.end:])
			}
			a.text += r.perByte.ceil(rest + rendered)
		}
	}
}

// count bounds text in the body: what the model's tokenizer counted, and all
// other bytes.
func (m *Model) count(a *arithmetic, c *Call, rendered int64) {
	r := m.Row.rules
	rest := c.textBytes(r.nfkc && (m.tokens == nil || m.tokens.nfc))
	a.text = r.perByte.ceil(rest + rendered)
	if m.tokens == nil || c.form != nil {
		return
	}
	a.countedBy = m.tokens.name
	if r.overhead.marked {
		if marked, ok := m.tokens.marked(c, &r.overhead); ok {
			if own := marked.tokens + r.perByte.ceil(marked.kept+rest-c.textBytes(false)); own < a.text {
				a.counted = counted{bytes: max(0, rest-marked.kept), tokens: marked.tokens}
				a.text, a.rendered, a.silent = own, 0, true
			}
			return
		}
	}
	a.counted = m.tokens.counted(c)
	a.text = r.perByte.ceil(rest-a.counted.bytes+rendered) + a.counted.tokens
}

// inputLimit is how many input tokens the provider accepts; 0 is unknown.
func (m *Model) inputLimit(c *Call) int64 {
	// An item to embed, a query with a document, and a prompt are inputs each.
	if c.chunked {
		return 0
	}
	limit := m.Row.Context * max(c.items, 1)
	if most := m.Row.rules.maxBatch; !c.Endpoint.generates() && most > 0 && (limit == 0 || most < limit) {
		limit = most
	}
	return limit
}

func (m *Model) media(a *arithmetic, c *Call) error {
	rules := m.Row.rules
	for _, img := range c.images {
		if rules.image == nil && m.Row.free() && len(m.Row.fees) == 0 {
			continue
		}
		if fee, ok := m.Row.fees[feeInputImage]; ok && rules.image == nil {
			a.fee(feeInputImage, 1, fee)
			continue
		}
		if rules.image == nil {
			return budget.Invalid("unbounded_media", img.field, fmt.Sprintf("%s: nobody has said how many tokens an image takes on %s; leave images out, or add to the configuration:\nmodels:\n- model: %s\n  image: {max_tokens: <the most tokens of one image>}", img.field, m.Slug, m.Slug))
		}
		a.images += img.tokens(rules.image)
	}
	if c.pdf.pages > 0 && m.openDocument(c) == nil {
		a.documents = c.pdf.pages*(rules.pdfPage+rules.image.most) + rules.perByte.ceil(c.pdf.text)
	}
	return m.recordings(a, c)
}

// recordings bounds what the call brings to be heard: by token, and by the second
// where the model is billed so. One that is written down has a bound of its own, see
// hear.
func (m *Model) recordings(a *arithmetic, c *Call) error {
	rules := m.Row.rules
	fee, bySecond := m.Row.fees[feeAudio]
	if bySecond && !c.Endpoint.generates() {
		return nil
	}
	for _, au := range c.audios {
		millis, err := m.length(c, au)
		if err != nil {
			return err
		}
		if piece := rules.audioLeast * 1000; piece > 0 {
			millis = (millis + piece - 1) / piece * piece
		}
		if bySecond {
			a.fee(feeAudio, (millis+999)/1000, perSecond(fee))
		} else if rules.audioRate == 0 || !m.Row.tiers[0].priced(inputAudio) {
			return budget.Invalid("unbounded_media", au.field, fmt.Sprintf("%s: %s has no audio price; leave audio out, or add to the configuration:\nmodels:\n- model: %s\n  audio: {tokens_per_second: <tokens>}\n  prices:\n  - {input_audio: <USD per million tokens>}", au.field, m.Slug, m.Slug))
		}
		a.audio += (millis*rules.audioRate + 999) / 1000
	}
	return nil
}

// Kinds of fees that are not a tool's.
const (
	feeRequest    = "request"     // every call
	feeSearchUnit = "search_unit" // rerankers
	feeImage      = "image"       // one that the model makes
	feeInputImage = "image_input" // one that it takes, where images are billed by the piece
	feeCharacter  = "character"   // of a text to be spoken
	// feeAudio is of a minute of a recording, and billed by the second.
	feeAudio = "audio_minute"
	// feeRefusal is charged in place of all else for a request that the provider
	// refuses for its content.
	feeRefusal = "content_refusal"
)

// countedFee is a fee whose uses a provider reports.
type countedFee struct {
	kind string
	uses int64 // at most
	pico int64 // per use
}

// fee adds uses of a kind to the bound: what a report can count by kinds, and
// containers also by their price, that of their memory.
func (a *arithmetic) fee(kind string, uses, pico int64) {
	if kind == feeRequest {
		a.feeUses += uses
		a.fees = a.fees.plus(uses, pico)
		return
	}
	for i := range a.byUse {
		if f := &a.byUse[i]; f.kind == kind && (kind != feeContainer || f.pico == pico) {
			f.uses += uses
			f.pico = max(f.pico, pico)
			return
		}
	}
	a.byUse = append(a.byUse, countedFee{kind, uses, pico})
}

// flatFees are those that no tool causes.
func (m *Model) flatFees(a *arithmetic, c *Call) {
	if fee := m.Row.fees[feeRequest]; fee > 0 {
		a.fee(feeRequest, 1, fee)
	}
	if c.Endpoint == Rerank && m.Row.bySearchUnit() {
		a.fee(feeSearchUnit, c.rank.searchUnits(), m.Row.fees[feeSearchUnit])
	}
}

// prices picks the dearest price an input and an output token can have.
func (m *Model) prices(a *arithmetic, c *Call, tier *rates) error {
	consider := func(b bucket) {
		if p := tier.written(b); p > a.in {
			a.in, a.inKind = p, b
		}
	}
	a.in, a.inKind = tier.price(input), input
	consider(cacheRead)
	write, err := m.writes(c, tier)
	if err != nil {
		return err
	}
	if write != input {
		consider(write)
	}
	if len(c.images) > 0 || a.documents > 0 || a.hidden > 0 {
		consider(inputImage)
	}
	if len(c.audios) > 0 || a.hidden > 0 {
		consider(inputAudio)
	}
	a.out, a.outKind = tier.price(output), output
	if c.audioOut {
		if !tier.priced(outputAudio) {
			return budget.Invalid("unbounded_media", "modalities", fmt.Sprintf("modalities asks for audio, and %s has no audio price; ask for text, or add to the configuration:\nmodels:\n- model: %s\n  prices:\n  - {output_audio: <USD per million tokens>}", m.Slug, m.Slug))
		}
		if p := tier.price(outputAudio); p > a.out {
			a.out, a.outKind = p, outputAudio
		}
	}
	return nil
}

// writes is the dearest kind of cache write the body can cause; input: none.
func (m *Model) writes(c *Call, tier *rates) (bucket, error) {
	switch {
	case tier.priced(cacheWrite):
	case c.cacheLong && tier.priced(cacheWriteLong): // Moonshot: short ones cost what input does
		return cacheWriteLong, nil
	default:
		if (c.cacheShort || c.cacheLong) && (m.Provider == "anthropic" || m.routesHosts()) { // who bill writes
			return input, budget.Invalid("tier_not_priced", "cache_control", fmt.Sprintf("the request asks for cache writes, and %s has no price for them; leave cache_control out, or add to the configuration:\nmodels:\n- model: %s\n  prices:\n  - {cache_write: <USD per million tokens>}", m.Slug, m.Slug))
		}
		return input, nil
	}
	wanted := c.cacheShort || c.cacheLong || c.prewarm || c.maxTokens.set && c.maxTokens.value == 0
	if m.Row.rules.implicit && !(c.cacheManual && !c.breakpoints && !c.cacheShort) {
		wanted = true
	}
	switch {
	case !wanted:
		return input, nil
	case !c.cacheLong:
		return cacheWrite, nil
	case !tier.priced(cacheWriteLong):
		return input, budget.Invalid("tier_not_priced", "cache_control", fmt.Sprintf("the request asks for long-lived cache writes, and %s has no price for them; use the short time to live, or add to the configuration:\nmodels:\n- model: %s\n  prices:\n  - {cache_write_long: <USD per million tokens>}", m.Slug, m.Slug))
	}
	return cacheWriteLong, nil
}

// textBytes is how many bytes of the body can become text tokens: all but the
// payload of media, whose tokens are counted by other rules.
func (c *Call) textBytes(nfkc bool) int64 {
	if c.form != nil {
		return c.form.bytes(c.body, nfkc)
	}
	n := int64(len(c.body)) - c.payload
	if nfkc && !c.plain {
		n += growth(c.body)
	}
	return n
}

// Normalisation is exact for maxNormalized runs of foreign characters that it
// changes: a body that alternates letters and ligatures would otherwise cost
// seconds. From there on each byte counts as if it grew as much as any does,
// which matters to no honest body: that many runs exceed most contexts.
const (
	maxNormalized = 50_000
	maxGrowth     = 10 // a byte becomes 11: U+FDFA, 3 bytes, becomes 33
)

// growth is how many bytes normalisation can add to the body's text: a tokenizer
// may normalise first, as NFKC, with which three bytes can become 33, or as NFC,
// which does not make shorter what NFKC does. An escape in the text of a string is one
// to who reads the JSON in it, such as the arguments of a tool call: runs of these are
// counted apart, since others normalise what stands beside them alone.
func growth(body []byte) int64 {
	var more int64
	normalized := 0
	var plain, normal []byte
	for i := plainEnd(body, 0); i < len(body); i = plainEnd(body, i) {
		start, next := i, appendForeign
		if _, size := nestedRune(body[i:]); size > 0 {
			next = appendNested
		}
		plain = plain[:0]
		for n := 1; n > 0; i += n {
			plain, n = next(plain, body[i:])
		}
		if i == start {
			i += 2 // another escape; its second byte starts none
			continue
		}
		if norm.NFKC.QuickSpan(plain) == len(plain) {
			continue // as it is, and never longer than it is written
		}
		if normalized++; normalized > maxNormalized {
			more += maxGrowth * int64(len(plain))
			continue
		}
		normal = norm.NFKC.Append(normal[:0], plain...)
		size := len(normal)
		normal = norm.NFC.Append(normal[:0], plain...)
		more += max(0, int64(max(size, len(normal))-(i-start)))
	}
	return more
}

// plainEnd is where the first byte at i or behind it stands that is a backslash
// or no ASCII; len(b) where there is none.
func plainEnd(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		slash := x ^ '\\'*ones
		if found := ((slash-ones)&^slash | x) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] < utf8.RuneSelf && b[i] != '\\' {
		i++
	}
	return i
}

// appendForeign appends the characters of the non-ASCII run or the \u escape
// that b starts with, and returns how many bytes of b that was; 0 for a nested escape.
func appendForeign(dst, b []byte) ([]byte, int) {
	n := 0
	for n < len(b) && b[n] >= utf8.RuneSelf {
		n++
	}
	if n > 0 || len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return append(dst, b[:n]...), n
	}
	if _, size := nestedRune(b); size > 0 {
		return dst, 0
	}
	r := escaped(b)
	if utf16.IsSurrogate(r) && len(b) >= 12 {
		return utf8.AppendRune(dst, utf16.DecodeRune(r, escaped(b[6:]))), 12
	}
	return utf8.AppendRune(dst, r), 6
}

// appendNested is appendForeign for nested escapes, which nobody has checked: half of
// a surrogate pair is a character by itself.
func appendNested(dst, b []byte) ([]byte, int) {
	r, size := nestedRune(b)
	if size == 0 {
		return dst, 0
	}
	if low, more := nestedRune(b[size:]); utf16.DecodeRune(r, low) != utf8.RuneError {
		r, size = utf16.DecodeRune(r, low), size+more
	}
	return utf8.AppendRune(dst, r), size
}

// nestedRune is what the \uXXXX says that the text of a string begins with, and how
// long it is as the string is written, where each of its characters may be an escape.
func nestedRune(b []byte) (r rune, size int) {
	var text [len(`\u0000`)]byte
	for i := range text {
		switch rest := b[size:]; {
		case len(rest) == 0:
			return 0, 0
		case rest[0] != '\\':
			text[i] = rest[0]
			size++
		case len(rest) > 1 && rest[1] == '\\':
			text[i] = '\\'
			size += 2
		default:
			c, ok := hexRune(rest)
			if !ok || c >= utf8.RuneSelf {
				return 0, 0
			}
			text[i] = byte(c)
			size += len(text)
		}
		if text[0] != '\\' {
			return 0, 0
		}
	}
	r, ok := hexRune(text[:])
	if !ok {
		return 0, 0
	}
	return r, size
}

// escaped reads \uXXXX.
func escaped(b []byte) rune {
	r, ok := hexRune(b)
	if !ok {
		return utf8.RuneError // the body was checked; only its text remains
	}
	return r
}
