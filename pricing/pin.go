package pricing

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
)

// pin is a price row as a bound used it, small enough to travel with the call:
// settling must not depend on what the catalog says later.
type pin struct {
	flags   uint64
	stored  int64 // input tokens that the body only names, as they were settled
	heard   int64 // bound of the input tokens of audio
	choices int64
	rate    int64 // output tokens a second, per choice
	input   int64 // bound of the input tokens
	inPico  int64 // prices of the bound
	outPico int64
	held    int64 // bytes of output that a provider may hold back, per choice
	fees    wide  // not counted by the provider
	counted []countedFee
	paths   *Extractor
	factor  ratio // region and time of day
	asked   ratio // service tier asked for, at least 1
	tiers   []namedRatio
	rates   []rates
	terms   pinTerms
}

// pinTerms are what the factor is the product of, so that the answer can decide
// each, and what the model's limits are. Older pins lack them.
type pinTerms struct {
	base, geo, peak    ratio // of the provider; the region asked for; the dearest hour in reach
	geos               []namedRatio
	peaks              []peak
	context, maxOutput int64 // tokens; 0 is unknown
	refusal            int64 // pico-USD of a request refused for its content
}

const (
	pinPriced uint64 = 1 << iota
	pinStream
	_             // of older versions: usage reports of a stream are not final
	pinElapsed    // a cut stream may be charged by its duration
	pinCost       // the report names the billed amount
	pinNoOutput   // embeddings
	pinLongWrites // cache writes are long-lived
	pinFees       // fees whose uses the provider reports follow
	pinExtractor  // the paths of a custom dialect follow
	pinOwn        // the operator wrote the price: no built-in one undercuts it
	_             // of older versions
	pinHasTerms   // pinTerms follow
	pinFlatCache  // a cheaper service tier does not make cache reads cheaper

	pinDialect = 16 // the dialect's number stands in four bits from here on

	pinNamed   uint64 = 1 << 20 // the answer may be named later; what of the input was named follows
	pinGuessed uint64 = 1 << 21 // … of which nobody had settled all
	pinStored  uint64 = 1 << 25 // the provider keeps the answer under its id

	pinShown uint64 = 1 << 27 // a stream has all output as it is generated: what was delivered bounds it; what may be held back follows

	pinUnbounded uint64 = 1 << 22 // the call had no bound; it has no rates where the model has no row
	pinHeard     uint64 = 1 << 24 // the call brings audio to be heard, whose bound follows
	pinTicks     uint64 = 1 << 26 // the report names the billed amount as xAI does
	pinEndpoint         = 28      // the endpoint's place among the declared ones stands in five bits from here on; 0: unknown
	pinRaw       uint64 = 1 << 23 // the answer is a recording or a text: whatever looks like a report in it is none
)

// dialect is how the call's answer reports its usage.
func (p *pin) dialect() dialect { return dialect(p.flags >> pinDialect & 15) }

const (
	pinVersion  = 1
	pinMost     = 8    // price tiers, and service tiers; Load refuses more
	pinName     = 32   // bytes of a service tier's name; Load refuses longer ones
	pinMaxBytes = 2048 // far above any real one
)

var errPin = errors.New("malformed pin")

func (p *pin) has(flag uint64) bool { return p.flags&flag != 0 }

// encode writes the pin as base64url text.
func (p *pin) encode() string {
	var storage, text [512]byte
	b := append(storage[:0], pinVersion)
	b = binary.AppendUvarint(b, p.flags)
	if p.has(pinPriced) {
		for _, v := range [...]int64{p.choices, p.rate, p.input, p.inPico, p.outPico} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		b = appendRatio(appendRatio(b, p.factor), p.asked)
		b = binary.AppendUvarint(b, p.fees.hi)
		b = binary.AppendUvarint(b, p.fees.lo)
		b = p.appendTiers(b)
		b = append(b, byte(len(p.rates)))
		for i := range p.rates {
			b = appendRates(b, &p.rates[i])
		}
		b = p.appendFees(b)
	}
	if p.has(pinExtractor) {
		b = p.appendPaths(b)
	}
	if p.has(pinHasTerms) {
		b = p.terms.append(b)
	}
	if p.has(pinNamed) {
		b = binary.AppendUvarint(b, uint64(p.stored))
	}
	if p.has(pinHeard) {
		b = binary.AppendUvarint(b, uint64(p.heard))
	}
	if p.has(pinShown) {
		b = binary.AppendUvarint(b, uint64(p.held))
	}
	return string(base64.RawURLEncoding.AppendEncode(text[:0], b))
}

func appendRatio(b []byte, r ratio) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, r.num), r.den)
}

func (p *pin) appendTiers(b []byte) []byte {
	return appendNamed(b, p.tiers)
}

func appendNamed(b []byte, list []namedRatio) []byte {
	b = append(b, byte(len(list)))
	for _, t := range list {
		b = append(append(b, byte(len(t.name))), t.name...)
		b = appendRatio(b, t.factor)
	}
	return b
}

// What pinTerms are there; what is not is 1, or 0.
const (
	termBase byte = 1 << iota
	termGeo
	termPeak
	termRefusal
)

func (t *pinTerms) append(b []byte) []byte {
	var has byte
	if t.base != one() {
		has |= termBase
	}
	if t.geo != one() || len(t.geos) > 0 {
		has |= termGeo
	}
	if len(t.peaks) > 0 {
		has |= termPeak
	}
	if t.refusal > 0 {
		has |= termRefusal
	}
	b = binary.AppendUvarint(binary.AppendUvarint(append(b, has), uint64(t.context)), uint64(t.maxOutput))
	if has&termBase != 0 {
		b = appendRatio(b, t.base)
	}
	if has&termGeo != 0 {
		b = appendNamed(appendRatio(b, t.geo), t.geos)
	}
	if has&termPeak != 0 {
		b = append(appendRatio(b, t.peak), byte(len(t.peaks)))
		for _, p := range t.peaks {
			weekdays := uint64(0)
			if p.weekdays {
				weekdays = 1
			}
			for _, v := range [...]uint64{uint64(p.from), uint64(p.to), weekdays} {
				b = binary.AppendUvarint(b, v)
			}
			b = appendRatio(b, p.factor)
		}
	}
	if has&termRefusal != 0 {
		b = binary.AppendUvarint(b, uint64(t.refusal))
	}
	return b
}

func appendRates(b []byte, r *rates) []byte {
	b = binary.AppendUvarint(b, uint64(r.from))
	b = binary.AppendUvarint(b, uint64(r.has))
	for k := range bucketCount {
		if r.priced(k) {
			b = binary.AppendUvarint(b, uint64(r.pico[k]))
		}
	}
	return b
}

func (p *pin) appendFees(b []byte) []byte {
	if !p.has(pinFees) {
		return b
	}
	b = append(b, byte(len(p.counted)))
	for _, f := range p.counted {
		b = append(append(b, byte(len(f.kind))), f.kind...)
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(f.uses)), uint64(f.pico))
	}
	return b
}

func (p *pin) appendPaths(b []byte) []byte {
	for _, path := range p.paths.paths() {
		b = append(append(b, byte(len(*path))), *path...)
	}
	outside := byte(0)
	if p.paths.CacheOutside {
		outside = 1
	}
	return append(b, outside)
}

// EndpointOf is the endpoint of the call that a pin is of; empty: an older version
// wrote the pin.
func EndpointOf(pin string) Endpoint { return endpointIn(pinFlags(pin)) }

// endpoint is EndpointOf of a pin that was read.
func (p *pin) endpoint() Endpoint { return endpointIn(p.flags) }

func endpointIn(flags uint64) Endpoint {
	if i := flags >> pinEndpoint & 31; i > 0 && int(i) <= len(declarations) {
		return declarations[i-1].name
	}
	return ""
}

// pinFlags are a pin's flags, without reading the rest of it; 0 of none.
func pinFlags(text string) uint64 {
	const first = 16 // characters: the version, and flags of any length
	raw, err := base64.RawURLEncoding.DecodeString(text[:min(first, len(text))])
	if err != nil || len(raw) == 0 || raw[0] != pinVersion {
		return 0
	}
	flags, _ := binary.Uvarint(raw[1:])
	return flags
}

// decodePin reads what encode wrote and refuses everything else.
func decodePin(text string) (*pin, error) {
	if len(text) > pinMaxBytes {
		return nil, errPin
	}
	var storage [512]byte
	raw, err := base64.RawURLEncoding.AppendDecode(storage[:0], []byte(text))
	if err != nil {
		return nil, errPin
	}
	d := fieldReader{rest: raw}
	if d.byte() != pinVersion {
		return nil, errPin
	}
	p := &pin{flags: d.uvarint()}
	if p.has(pinPriced) {
		for _, v := range []*int64{&p.choices, &p.rate, &p.input, &p.inPico, &p.outPico} {
			*v = d.count()
		}
		p.factor, p.asked = d.ratio(), d.ratio()
		p.fees = wide{hi: d.uvarint(), lo: d.uvarint()}
		d.tiers(p)
		d.rates(p)
		d.fees(p)
	}
	if p.has(pinExtractor) {
		d.paths(p)
	}
	if p.has(pinHasTerms) {
		d.terms(&p.terms)
	}
	if p.has(pinNamed) {
		p.stored = d.count()
	}
	if p.has(pinHeard) {
		p.heard = d.count()
	}
	if p.has(pinShown) {
		p.held = d.count()
	}
	if d.bad || len(d.rest) > 0 {
		return nil, errPin
	}
	return p, nil
}

// fieldReader reads the bytes of a pin or a record; bad is sticky.
type fieldReader struct {
	rest []byte
	bad  bool
}

func (d *fieldReader) byte() byte {
	if len(d.rest) == 0 {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *fieldReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *fieldReader) count() int64 {
	v := d.uvarint()
	if v > 1<<62 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (d *fieldReader) ratio() ratio {
	r := ratio{d.uvarint(), d.uvarint()}
	if r.den == 0 {
		d.bad = true
		return one()
	}
	return r
}

func (d *fieldReader) text() string { return d.string(uint64(d.byte())) }

// longText is one that appendText wrote.
func (d *fieldReader) longText() string { return d.string(d.uvarint()) }

func (d *fieldReader) string(size uint64) string {
	if size > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return ""
	}
	s := string(d.rest[:size])
	d.rest = d.rest[size:]
	return s
}

func (d *fieldReader) fees(p *pin) {
	if !p.has(pinFees) {
		return
	}
	n := int(d.byte())
	if n > pinMost {
		d.bad = true
		return
	}
	for range n {
		p.counted = append(p.counted, countedFee{d.text(), d.count(), d.count()})
	}
}

func (d *fieldReader) paths(p *pin) {
	p.paths = &Extractor{}
	for _, path := range p.paths.paths() {
		*path = d.text()
	}
	p.paths.CacheOutside = d.byte() == 1
}

func (d *fieldReader) tiers(p *pin) { p.tiers = d.named() }

func (d *fieldReader) named() []namedRatio {
	n := int(d.byte())
	if n > pinMost {
		d.bad = true
		return nil
	}
	list := make([]namedRatio, 0, n)
	for range n {
		name := d.text()
		list = append(list, namedRatio{name, d.ratio()})
	}
	return list
}

func (d *fieldReader) terms(t *pinTerms) {
	has := d.byte()
	t.base, t.geo, t.peak = one(), one(), one()
	t.context, t.maxOutput = d.count(), d.count()
	if has&termBase != 0 {
		t.base = d.ratio()
	}
	if has&termGeo != 0 {
		t.geo = d.ratio()
		t.geos = d.named()
	}
	if has&termPeak != 0 {
		t.peak = d.ratio()
		n := int(d.byte())
		if n > pinMost {
			d.bad = true
			return
		}
		for range n {
			from, to, weekdays := d.count(), d.count(), d.count()
			d.bad = d.bad || from > to || to > 24*60
			t.peaks = append(t.peaks, peak{int(from), int(to), d.ratio(), weekdays == 1})
		}
	}
	if has&termRefusal != 0 {
		t.refusal = d.count()
	}
}

func (d *fieldReader) rates(p *pin) {
	n := int(d.byte())
	if n == 0 && !p.has(pinUnbounded) || n > pinMost {
		d.bad = true
		return
	}
	p.rates = slices.Grow(p.rates, n)
	for range n {
		r := rates{from: d.count()}
		has := d.uvarint()
		if has >= 1<<bucketCount {
			d.bad = true
			return
		}
		for k := range bucketCount {
			if has&(1<<k) != 0 {
				r.set(k, d.count())
			}
		}
		p.rates = append(p.rates, r)
	}
}
