package pricing

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"aigateway/budget"

	"github.com/go-json-experiment/json/jsontext"
)

// maxCap is the largest output cap and maxChoices the largest n a body may ask
// for; a cap of -1 means "unlimited" to some servers, so negatives are refused.
const (
	maxCap     = 10_000_000
	maxChoices = 128
	maxModel   = 256 // bytes of a model's slug
	maxHosted  = 64  // tools the provider runs
	// maxToolCalls is the most uses of the provider's tools that a body may allow.
	maxToolCalls = 1000
)

// Call is a request body that was parsed strictly. It keeps the body, which
// must not change while the call is in use.
type Call struct {
	Endpoint Endpoint
	Model    string // as the client wrote it: provider/model
	Stream   bool
	// DefaultCap is inserted when the body has no output cap: the caller's own
	// default, of its key or budgets. 0: the model's, else the upstream's.
	DefaultCap int64
	// DefaultToolCalls limits tools that run at the provider where the body does
	// not: the caller's own default, as above. 0: the upstream's.
	DefaultToolCalls int64
	// Watched: a budget watches the call, so that tools which run at the provider
	// need a limit, and get the usual one where the upstream has none.
	Watched bool

	body  []byte
	open  int  // offset just after the body's opening brace
	plain bool // no character of the body is beyond ASCII, nor written as \u and a number, also in JSON in its strings

	model         span
	maxTokens     capField
	maxCompletion capField
	maxOutput     capField // of the Responses API
	foreignCap    int64    // the larger of other APIs' caps, which some servers obey
	choices       int64    // max(n, best_of), at least 1
	prompts       int64    // prompts of a legacy completion; 0: one
	prompt        span     // … and where they are
	options       streamOptions
	serviceTier   string
	speed         string
	geo           string
	routing       routing

	payload     int64      // base64 bytes of recognised media, which are no text
	rendered    int64      // bytes that JSON can get longer by when the provider writes it anew
	tools       int64      // tools in the body
	toolTexts   []toolText // … and lists of them
	schemas     bool       // the form of the answer is asked for
	results     int64      // messages with what a tool gave, which may repeat its name …
	longestName int64      // … of at most so many bytes
	images      []image
	audios      []audio
	hosted      []hostedTool
	toolCalls   int64       // max_tool_calls: of all hosted tools together; -1: no limit
	toolNull    int         // offset of its null; 0: there is none
	clientTools int64       // client-run tools with a versioned prompt of their own
	named       []namedTool // tools of the Messages API
	references  []string    // tools that are referred to, by name
	cacheShort  bool        // a cache_control asks for cache writes
	cacheLong   bool        // … for longer than the short time
	cacheManual bool        // prompt_cache_options.mode is explicit
	breakpoints bool        // some member names a cache breakpoint
	prewarm     bool        // asks to fill the cache
	audioOut    bool
	prediction  bool
	unread      string // the first top-level member nobody here knows
	hidden      hidden // output that may not be in the stream
	vague       string // the first image without a detail that bounds it
	stored      storedInput
	unstored    bool // the answer is not to be kept
	allTurns    bool // asks for the reasoning of all turns, which each may have left out of its own input
	truncates   bool // what does not fit the context is left out, and not told
	compacts    bool // asks for a summary, whose length no cap is known to limit
	// hostedInside says that hosted tools stand in the input, with which they
	// may come again when it is named.
	hostedInside bool
	pdf          pdfs
	items        int64 // embeddings inputs, or documents to rank
	rank         *ranking
	tokenInput   bool      // … given as token ids
	tokens       int64     // … and how many
	pictures     *pictures // to be made
	spoken       int64     // characters to be spoken
	chunked      bool      // a recording is cut into pieces
	form         *formText // of a form; nil: the body is JSON
	rawAnswer    bool      // the answer is asked for in a form without a report
	unbounded    *budget.Error
}

// span is a range of body bytes.
type span struct{ at, end int }

// capField is a member that caps the output.
type capField struct {
	set   bool // present and not null
	null  bool
	at    int // offset of the value
	width int // bytes of the value as it was written
	value int64
}

// streamOptions is the stream_options member.
type streamOptions struct {
	kind       jsontext.Kind // 0 absent, 'n' null, '{' object
	at         int           // offset of null, or just after the brace
	empty      bool
	include    jsontext.Kind // include_usage: 0, 'n', 't', 'f'
	includeAt  int
	includeEnd int
}

// hostedTool is a tool that runs at the provider.
type hostedTool struct {
	kind  string
	uses  int64 // -1: the body sets no limit
	size  int64 // gigabytes of a code tool's container; 0: unknown
	field string
	open  int // offset just after its brace
	null  int // offset of the null that stands for its limit; 0: there is none

	execution, environment string // who runs it, of types that either side may
}

// refuse keeps the first reason for which the call has no bound. It is no
// error yet: without a budget the call is allowed.
func (c *Call) refuse(reason, field, message string) {
	if c.unbounded == nil {
		c.unbounded = budget.Invalid(reason, field, message)
	}
}

// ParseCall reads a request body at least as strictly as any provider does:
// one JSON object, no duplicate member at any depth, valid UTF-8, the members
// that decide money with their exact types and ranges. The error is a
// *budget.Error of kind invalid that names the field, or of kind too large for a
// body with more members or elements than any call has.
func ParseCall(e Endpoint, body []byte) (*Call, error) {
	return ParseCallContext(context.Background(), e, body)
}

// ParseCallContext is ParseCall for as long as somebody waits for it: soon after
// ctx ends, it returns the error of that.
func ParseCallContext(ctx context.Context, e Endpoint, body []byte) (*Call, error) {
	return parseCall(ctx, e, body, nil, "")
}

// parseCall is ParseCallContext for an owner of what m remembers; a nil m remembers
// nothing.
func parseCall(ctx context.Context, e Endpoint, body []byte, m *Memory, owner string) (*Call, error) {
	if err := checkShape(body); err != nil {
		return nil, err
	}
	d := e.declared()
	p := &parser{call: Call{Endpoint: e, body: body, choices: 1, toolCalls: -1}, top: d.members, ctx: ctx, free: d.free}
	var err error
	if m != nil && d.in&talking != 0 && len(body) >= m.least {
		err = p.parseAgain(m, owner, e, body)
	} else {
		err = p.document(body, p.topMember)
	}
	if err != nil {
		return nil, p.explain(err)
	}
	if d.complete != nil {
		if err := d.complete(&p.call); err != nil {
			return nil, err
		}
	}
	if p.call.Model == "" && !emptyObject(body[p.call.open:]) {
		p.call.Model = d.defaultModel
	}
	if p.call.Model == "" {
		return nil, modelMissing()
	}
	return &p.call, nil
}

// emptyObject reports whether nothing but the end of an object follows.
func emptyObject(rest []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("}"))
}

func modelMissing() error {
	return budget.Invalid("model_missing", "model", "model is missing; name one as provider/model, such as openai/gpt-5.4-mini")
}

// explain turns a decoder's error into ours. After an error nothing that was
// read may be used: the decoder may have seen only the first of two members.
func (p *parser) explain(err error) error {
	var own *budget.Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	body := p.call.body
	if len(bytes.TrimLeft(body, " \t\r\n")) == 0 {
		return budget.Invalid("body_missing", "", "the request has no body; send one JSON object")
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return budget.Invalid("body_not_json", "", "the body ended early or could not be read; send one JSON object")
	}
	field := pointerPath(syntax.JSONPointer)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return budget.Invalid("duplicate_key", field, fmt.Sprintf("%s appears twice in the same object; send it once", clip(field)))
	case isEncodingFault(body, syntax):
		return budget.Invalid("invalid_utf8", field, fmt.Sprintf("the body is not valid UTF-8 at byte %d; encode text as UTF-8 and surrogates in pairs", syntax.ByteOffset))
	}
	return budget.Invalid("body_not_json", field, fmt.Sprintf("the body is not one valid JSON object: fault at byte %d of %d", syntax.ByteOffset, len(body)))
}

// document reads text, which is one object, and calls member after each name.
func (p *parser) document(text []byte, member func(name []byte) error) error {
	return p.whole(text, func() error {
		if k := p.dec.PeekKind(); k != '{' && k != jsontext.KindInvalid {
			return budget.Invalid("body_not_json", "", "the body must be a JSON object")
		}
		if err := p.dec.bracket(); err != nil {
			return err
		}
		if p.call.form == nil {
			p.call.open = int(p.dec.InputOffset())
		}
		return p.members(member)
	})
}

// whole reads all of text, one value, with read.
func (p *parser) whole(text []byte, read func() error) error {
	p.dec = newReader(text)
	defer func() {
		p.dec.release()
		p.dec = nil
	}()
	err := read()
	if errors.Is(err, errFault) || err == nil && !p.dec.end() {
		return p.dec.fault()
	}
	p.call.plain = err == nil && p.dec.has&foreign == 0
	return err
}

// completeMessages: the Messages API requires a cap.
func completeMessages(c *Call) error {
	if !c.maxTokens.set {
		return budget.Invalid("max_tokens_required", "max_tokens", "max_tokens is missing; the Messages API requires it")
	}
	c.expand()
	return nil
}

// completeCompact: the answer is a summary, and no tool runs for it.
func completeCompact(c *Call) error {
	c.compacts, c.hosted = true, nil
	return nil
}

func completeRerank(c *Call) error {
	switch {
	case c.rank == nil || !c.rank.hasQuery:
		return budget.Invalid("field_invalid", "query", "query is missing; send the text to rank by")
	case c.items == 0:
		return budget.Invalid("field_invalid", "documents", "documents is missing or empty; send the texts to rank")
	}
	return nil
}
