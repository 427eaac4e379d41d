package pricing

import (
	"fmt"
	"strconv"
	"time"

	"aigateway/budget"
)

// Bound is the most a call can cost, and what must change in its body.
type Bound struct {
	Amount      budget.Amount
	Edits       []Edit // ascending, not overlapping
	StripUsage  bool   // drop the usage-only chunk the client did not ask for
	InjectedCap int64  // output cap inserted into the body; 0: none
	// InjectedToolCalls is the limit inserted into the body for tools that the
	// provider runs; 0: none.
	InjectedToolCalls int64
	// CountOutput says that what is seen of the answer's output can decide the cost.
	CountOutput bool
	Pin         string // opaque text for Charge

	sum   arithmetic
	edits [5]Edit // storage of Edits
}

// Bound is the worst-case cost of c at a moment. The error is a *budget.Error
// that says why there is no bound and what would give it one.
func (m Model) Bound(c *Call, at time.Time) (*Bound, error) {
	b := &Bound{}
	if err := m.bound(b, c, at); err != nil {
		return nil, err // not b: an error interface must not hide a nil
	}
	return b, nil
}

func (m *Model) bound(b *Bound, c *Call, at time.Time) error {
	if err := m.obeys(c); err != nil {
		return err
	}
	if c.Endpoint.Free() {
		m.edit(b, c)
		return nil
	}
	if m.Row == nil {
		return m.notPriced()
	}
	if err := m.supported(c); err != nil {
		return err
	}
	multiplier, err := m.multiplier(c, at)
	if err != nil {
		return err
	}
	b.sum.factor = multiplier.total
	if err := m.output(b, c); err != nil {
		return err
	}
	if err := m.input(b, c); err != nil {
		return err
	}
	var ok bool
	if b.Amount, ok = b.sum.total(b.sum.limit, 0); !ok {
		return budget.Invalid("field_invalid", "max_tokens", "this request could cost more than any budget can hold; lower max_tokens or n")
	}
	m.edit(b, c)
	p := m.pin(c, &b.sum, multiplier)
	b.CountOutput = p.has(pinShown)
	b.Pin = p.encode()
	return nil
}

// Unbounded is for a call that has no bound and that no budget watches: its body
// still needs the model's real name and, on a stream, the usage option. The pin
// has what is known of its price: the provider's report decides what it cost.
func (m Model) Unbounded(c *Call, at time.Time) *Bound {
	b := &Bound{}
	m.edit(b, c)
	b.Pin = m.unboundedPin(c, at).encode()
	return b
}

// arithmetic is everything the bound is the sum of.
type arithmetic struct {
	text, overhead, images, audio int64 // tokens
	documents                     int64 // … of PDFs: pages as images and as text
	input                         int64 // tokens of one hop, at most the context
	rendered                      int64 // tokens of text that printing it anew may add
	hidden                        int64 // tokens of input that is not in the body
	hiddenNote                    string
	clamped                       bool
	routed                        bool         // hosts that are dearer are ruled out
	hops                          int64        // 1, and one for each use of a hosted tool
	growth                        int64        // tokens that a use adds to the input of the next hop
	context                       int64        // … which is at most so long
	outputs                       int64        // how often the output cap counts: once, or for each hop
	made                          []madeTokens // output that no member caps
	choices                       int64
	limit                         int64 // output cap of one choice
	foreign                       int64 // … which another API's cap may raise
	in, out                       int64 // pico-USD per token
	inKind, outKind               bucket
	tier                          int64 // input tokens from which these prices hold
	ceiling                       int64 // … and from which dearer ones do; 0: none
	silent                        bool  // an output cap is no input
	slack                         int64 // tokens that sending a cap adds to a body without one; 0: it has one
	perDigit                      int64 // tokens of a longer body's byte
	width                         int   // bytes of the cap that was sent
	factor                        ratio
	fees                          wide
	feeUses                       int64
	refusal                       int64        // pico-USD if the provider refuses the content
	byUse                         []countedFee // of fees, those a report can count
	counted                       counted      // of text, what a tokenizer counted
	countedBy                     string       // … and its name; empty: none
}

// madeTokens is output of a kind.
type madeTokens struct {
	what   string
	tokens int64
	pico   int64 // per token
	note   string
}

// slack is how many bytes naming a cap may lengthen a body by that has none: the
// cap named in a refusal must still fit when the client sends it.
const slack = 64

// total is the bound with an output cap, and with more input.
func (a *arithmetic) total(limit, more int64) (budget.Amount, bool) {
	tokens := wide{}.plus(a.input+more, a.in).plus(a.rounds(limit, more), a.in)
	for _, m := range a.made {
		tokens = tokens.plus(m.tokens, m.pico)
	}
	output := wide{}.plus(max(limit, a.foreign)*a.choices*a.outputs, a.out)
	sum := tokens.add(output).times(a.factor).add(a.fees)
	for _, f := range a.byUse {
		sum = sum.plus(f.uses, f.pico)
	}
	amount, ok := sum.nano()
	flat, _ := wide{}.plus(1, a.refusal).nano()
	return max(amount, flat), ok
}

// rounds is the input of all hops but the first. A tool's results are input of
// the next one, as is what the model wrote until then.
func (a *arithmetic) rounds(limit, more int64) int64 {
	n := a.hops - 1
	if n <= 0 {
		return 0
	}
	first := a.input + more + max(limit, a.foreign)*a.choices
	full := min(n, max(a.context-first, 0)/a.growth) // that do not reach the context's end
	return full*first + a.growth*(full*(full+1)/2) + (n-full)*a.context
}

// LargestCap is the largest output cap, per choice, with which the call's
// bound is at most room; false when not even a cap of 1 fits, or when the call
// has no output to cap. It still fits when the client sends it, which may make
// the body a little longer.
func (b *Bound) LargestCap(room budget.Amount) (int64, bool) {
	a := &b.sum
	if a.choices == 0 {
		return 0, false
	}
	fits := func(limit int64) bool {
		more := a.slack
		if more == 0 { // it may have more digits than the one that was sent, which may stand twice
			more = a.perDigit * 2 * int64(max(len(strconv.FormatInt(limit, 10))-a.width, 0))
		}
		if a.ceiling > 0 && a.input+more+a.rounds(limit, more) >= a.ceiling {
			return false
		}
		amount, ok := a.total(limit, more)
		return ok && amount <= room
	}
	return lastFitting(1, maxCap, fits)
}

// lastFitting is the last number from low to high that fits, where all up to it do;
// false when not even low does.
func lastFitting(low, high int64, fits func(int64) bool) (int64, bool) {
	if low > high || !fits(low) {
		return 0, false
	}
	for low < high { // fits(low) holds
		if mid := (low + high + 1) / 2; fits(mid) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low, true
}

// Lines is the arithmetic behind Amount, for people.
func (b *Bound) Lines() []budget.Line {
	a := &b.sum
	if a.factor.den == 0 {
		return nil // an unpriced call
	}
	var out []budget.Line
	add := func(label string, n int64, unit string, pico int64, note string) {
		amount, _ := wide{}.plus(n, pico).nano()
		out = append(out, budget.Line{Label: label, Quantity: n, Unit: unit, PicoPerUnit: pico, Amount: amount, Note: note})
	}
	part := func(label string, n int64, note string) {
		if n > 0 {
			add(label, n, "tokens", 0, note)
		}
	}
	part("counted text", a.counted.tokens, fmt.Sprintf("%d bytes by %s; where other text may touch it, by bytes", a.counted.bytes, a.countedBy))
	part("text", a.text-a.counted.tokens-a.rendered, "a byte is at most one token")
	part("renderings", a.rendered, "schemas and arguments, as a provider may print them")
	part("stored input", a.hidden, a.hiddenNote)
	part("overhead", a.overhead, "chat template and tool prompts")
	part("images", a.images, "by their dimensions, else the model's most")
	part("documents", a.documents, "PDFs: each page as an image and as text")
	part("audio", a.audio, "the longest the bytes allow")
	note, hosts := "", ""
	if a.clamped {
		note = "limited by the model's context"
	}
	if a.routed {
		hosts = "provider.max_price rules dearer hosts out"
	}
	add("input", a.input, "tokens", a.in, joinNotes("at the "+a.inKind.String()+" price", a.tierNote(), note, hosts))
	if a.hops > 1 {
		note = "each use of a hosted tool may fill the context"
		if a.growth < a.context {
			note = fmt.Sprintf("each use of a hosted tool may add %d tokens to the next round, up to the context", a.growth)
		}
		if b.InjectedToolCalls > 0 {
			note += fmt.Sprintf("; the limit of %d uses was inserted, the request has none", b.InjectedToolCalls)
		}
		add("input of tool rounds", a.rounds(a.limit, 0), "tokens", a.in, note)
	}
	if limit := max(a.limit, a.foreign); limit > 0 {
		note = fmt.Sprintf("cap %d × %d choices", limit, a.choices)
		if b.InjectedCap > 0 {
			note += "; the cap was inserted, the request has none"
		}
		add("output", limit*a.choices*a.outputs, "tokens", a.out, note)
	}
	for _, m := range a.made {
		add("output", m.tokens, "tokens", m.pico, m.what+": "+m.note)
	}
	if a.factor != one() {
		out = append(out, budget.Line{Label: "multiplier", Quantity: 1, Unit: a.factor.String(), Note: "service tier, region and time of day; on all tokens"})
	}
	out = a.feeLines(out)
	if flat, _ := (wide{}).plus(1, a.refusal).nano(); flat > 0 && flat == b.Amount {
		out = append(out, budget.Line{Label: "refusal", Quantity: 1, Unit: "request", PicoPerUnit: a.refusal, Amount: flat, Note: "more than the rest: what the provider bills for a request that it refuses for its content"})
	}
	return append(out, budget.Line{Label: "bound", Quantity: 1, Unit: "request", Amount: b.Amount})
}

// feeLines lists what is billed by use.
func (a *arithmetic) feeLines(out []budget.Line) []budget.Line {
	for _, f := range a.byUse {
		amount, _ := wide{}.plus(f.uses, f.pico).nano()
		out = append(out, budget.Line{Label: "fees", Quantity: f.uses, Unit: feeUnit(f.kind), PicoPerUnit: f.pico, Amount: amount, Note: f.kind})
	}
	if a.feeUses > 0 {
		amount, _ := a.fees.nano()
		out = append(out, budget.Line{Label: "fees", Quantity: a.feeUses, Unit: "uses", Amount: amount, Note: "hosted tools and the request itself"})
	}
	return out
}

func feeUnit(kind string) string {
	switch kind {
	case feeSearchUnit:
		return "search units"
	case feeImage, feeInputImage:
		return "images"
	case feeAudio:
		return "seconds"
	case feeCharacter:
		return "characters"
	}
	return "uses"
}

func (a *arithmetic) tierNote() string {
	if a.tier == 0 {
		return ""
	}
	return fmt.Sprintf("tier from %d input tokens", a.tier)
}

func joinNotes(notes ...string) string {
	s := ""
	for _, n := range notes {
		if n != "" && s != "" {
			s += "; "
		}
		s += n
	}
	return s
}
