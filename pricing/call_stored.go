package pricing

import (
	"bytes"
	"fmt"
	"strings"

	"aigateway/budget"
)

// A body may name input that its provider keeps: an earlier response with all
// that led to it, a conversation, or single items of them. What is named is
// bounded by what this gateway settled for the response that made it, see
// Settle; else it may fill the model's context.

// StoredName is one thing that a body names.
type StoredName struct {
	ID   string
	Kind StoredKind
	// Bytes are those of a CarriedItem in the body.
	Bytes int64
}

// StoredKind says how much of a response a name can stand for.
type StoredKind uint8

// The kinds of stored names.
const (
	StoredResponse StoredKind = iota // the response, and all that led to it
	StoredItem                       // an item the model wrote: part of the response's output
	StoredToolUse                    // what a tool of the provider did: its results were input as well
	// CarriedItem stands whole in the body. Should the provider read its own
	// copy, it is part of the response's output all the same.
	CarriedItem
)

// maxStoredNames is how many names of one body are kept. More of them may fill
// the context.
const maxStoredNames = 1024

// storedInput is what a body names.
type storedInput struct {
	why      *budget.Error // the first of it; nil: the body names nothing
	template *budget.Error // a stored prompt
	names    []StoredName
	ids      []string // of what is named and not carried, however many
	other    bool     // some of it has no name that was ever settled

	settled bool  // tokens is what all of it can amount to
	tokens  int64 // …
}

// StoredNames is what the body names that its provider keeps, for Settle; nil
// when nothing that was settled could bound it.
func (c *Call) StoredNames() []StoredName {
	if c.stored.other {
		return nil
	}
	return c.stored.names
}

// Settle says that all StoredNames together are at most so many input tokens of
// the model that is called.
func (c *Call) Settle(tokens int64) { c.stored.settled, c.stored.tokens = true, max(tokens, 0) }

// Answered is how many input tokens an answer can amount to when a later call of
// the same model names it.
type Answered struct {
	Response int64 // the response, and all that led to it
	Output   int64 // all items that the model wrote
	// Whole says that Response has the reasoning of all turns, whether or not a
	// turn left some of it out.
	Whole bool
}

// Answer is what a call's answer can amount to, by its pin and its report; false
// when no later call can name it, or nobody can tell.
func Answer(text string, out Outcome) (Answered, bool) {
	if out.Basis != budget.BasisUsage || out.Served != "" || pinFlags(text)&(pinNamed|pinPriced) != pinNamed|pinPriced {
		return Answered{}, false
	}
	p, err := decodePin(text)
	if err != nil {
		return Answered{}, false
	}
	for _, f := range out.Flags {
		switch f {
		case FlagBucketUnpriced, FlagTierUnpriced, FlagBoundExceeded: // which say nothing against the counts
		default:
			return Answered{}, false
		}
	}
	t := out.Tokens
	in := t.Input + t.CacheRead + t.CacheWrite
	if p.stored > 0 { // a turn may leave out what it names, and the next one read it
		in = max(in, p.stored+min(in, max(p.input-p.stored, 0)))
	}
	return Answered{Response: in + t.Output, Output: t.Output, Whole: !p.has(pinGuessed)}, true
}

// Stored reports whether the provider keeps the answer of a call with this pin
// under its id.
func Stored(text string) bool { return pinFlags(text)&pinStored != 0 }

// storeMember reads whether the answer is to be kept, as it is unless it says no.
func (p *parser) storeMember() error {
	p.call.unstored = p.dec.PeekKind() == 'f'
	return p.walk()
}

// truncationMember reads whether input that does not fit is left out.
func (p *parser) truncationMember() error {
	raw, err := p.dec.ReadValue()
	p.call.truncates = err == nil && string(raw) != "null" && string(raw) != `"disabled"`
	return err
}

// reasoningMember reads how the model is to reason.
func (p *parser) reasoningMember() error {
	if p.dec.PeekKind() != '{' {
		return p.walk()
	}
	return p.object(func(name []byte) error {
		id, err := p.find(reasoningObject, name)
		if id == isContext {
			raw, err := p.dec.ReadValue()
			p.call.allTurns = err == nil && string(raw) != "null" && string(raw) != `"auto"` && string(raw) != `"current_turn"`
			return err
		}
		return err
	})
}

// stores notes something that is not in the body.
func (p *parser) stores(field string) {
	if p.call.stored.why == nil {
		p.call.stored.why = budget.Invalid("unbounded_input", field, "")
	}
}

// keepName notes what the body names. One that is carried matters only where it
// was settled.
func (p *parser) keepName(n StoredName) {
	s := &p.call.stored
	switch {
	case n.ID != "" && len(s.names) < maxStoredNames:
		s.names = append(s.names, n)
	case n.Kind != CarriedItem:
		s.other = true
	}
}

// previousMember reads previous_response_id.
func (p *parser) previousMember() error {
	if p.dec.PeekKind() == 'n' {
		return p.dec.SkipValue()
	}
	p.stores("previous_response_id")
	id, err := p.identity()
	p.call.stored.ids = append(p.call.stored.ids, id)
	p.keepName(StoredName{ID: id, Kind: StoredResponse})
	return err
}

// conversationMember reads conversation, to which others may have added.
func (p *parser) conversationMember() error {
	if p.dec.PeekKind() != 'n' {
		p.stores("conversation")
		p.call.stored.other = true
	}
	return p.walk()
}

// templateMember reads a stored prompt. It may bring tools that the provider
// runs, so the operator has to say that theirs bring none.
func (p *parser) templateMember() error {
	switch p.dec.PeekKind() {
	case '"', 'n':
		return p.dec.SkipValue() // a text, which no server is known to read here
	}
	p.stores("prompt")
	p.call.stored.other = true
	p.call.stored.template = budget.Invalid("unbounded_input", "prompt", "prompt refers to a stored prompt, which may bring tools that the provider runs; send its text as instructions, or set allow_stored_input for the provider if its prompts bring none, which reserves a whole context")
	return p.walk()
}

// identity reads an id; empty: it is none that this gateway has seen.
func (p *parser) identity() (string, error) {
	const longest = 200
	if p.dec.PeekKind() != '"' {
		return "", p.walk()
	}
	raw, err := p.dec.ReadValue()
	if err != nil || len(raw) > longest {
		return "", err
	}
	id, err := unquote(raw)
	return string(id), err
}

// item is what one element of a response's input has.
type item struct {
	kind    string
	id      string
	named   bool   // it has an id
	present uint64 // its members that are not empty, by memberID
	untyped string // the first tool in it that has no type
	result  *image // what it may be, of which payload bytes are no text then
	payload int64  // …
}

func (it *item) carries(ids ...memberID) bool {
	for _, id := range ids {
		if it.present&(1<<id) != 0 {
			return true
		}
	}
	return false
}

// whole reports whether everything the item stands for is in the body. A
// reasoning item is its encrypted content: the summary is for people, and the
// provider finds the rest by the id.
func (it *item) whole() bool {
	switch it.kind {
	case "", "message", "agent_message":
		return it.carries(isContent)
	case "reasoning", "compaction", "compaction_summary", "context_compaction":
		return it.carries(isEncrypted)
	case "function_call", "mcp_approval_request", "tool_search_call":
		return it.carries(isArguments)
	case "custom_tool_call":
		return it.carries(isInput)
	case "computer_call", "local_shell_call", "shell_call":
		return it.carries(isAction)
	case "apply_patch_call":
		return it.carries(isOperation)
	case "image_generation_call", "program_output":
		return it.carries(isResult)
	case "program":
		return it.carries(isCode)
	case "mcp_call":
		return it.carries(isOutput, isError)
	case "mcp_list_tools", "additional_tools", "tool_search_output":
		return it.carries(isTools)
	case "mcp_approval_response", "apply_patch_call_output", "compaction_trigger", "ghost_snapshot":
		return true
	}
	return strings.HasSuffix(it.kind, "_output") && it.carries(isOutput)
}

// knownItem lists the types whose size is known: what they hold is in the body,
// or was in an answer. Those of Codex beside the API's own are in its ResponseItem:
// https://github.com/openai/codex/blob/main/codex-rs/protocol/src/models.rs
func knownItem(kind string) bool {
	switch kind {
	case "", "message", "reasoning", "item_reference", "additional_tools", "agent_message", "program",
		"compaction", "compaction_summary", "context_compaction", "compaction_trigger", "ghost_snapshot":
		return true
	}
	return strings.HasSuffix(kind, "_call") || strings.HasSuffix(kind, "_output") || strings.HasPrefix(kind, "mcp_")
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
	it, before := item{}, p.dec.InputOffset()
	err := p.object(func(name []byte) error {
		start := p.dec.InputOffset()
		id, err := p.find(itemObject, name)
		if err == nil && id != done {
			err = p.itemMember(&it, id)
		}
		if err == nil && !empty(p.call.body[start:p.dec.InputOffset()]) {
			it.present |= 1 << id
		}
		return err
	})
	if err == nil {
		p.short(before)
		if strings.HasSuffix(it.kind, "_output") {
			p.call.results++
		}
		p.checkItem(&it, p.dec.InputOffset()-before)
	}
	return err
}

func (p *parser) itemMember(it *item, id memberID) (err error) {
	switch id {
	case isType:
		it.kind, err = p.text()
		return err
	case isIdentity:
		if p.dec.PeekKind() != 'n' {
			it.named = true
		}
		it.id, err = p.identity()
		return err
	case isContent, isOutput, isSummary:
		return p.responseContent()
	case isResult: // an earlier generated image, which counts as one again
		if p.dec.PeekKind() == '"' {
			var img image
			img, it.payload, err = p.pastImage()
			it.result = &img
			return err
		}
	case isTools:
		return p.toolText(func() error { return p.itemTools(it) })
	case isArguments, isAction, isOperation:
		return p.argumentsMember()
	case isName:
		return p.called()
	}
	return p.walk()
}

// itemTools reads the tools in an item. Those that an MCP server listed have no
// type: what may run is in the tools beside input.
func (p *parser) itemTools(it *item) error {
	before := len(p.call.hosted)
	defer func() { p.call.hostedInside = p.call.hostedInside || len(p.call.hosted) > before }()
	return p.toolOrTools(func(int) error {
		kind, err := p.readTool(false)
		if err == nil && kind == "" && it.untyped == "" {
			it.untyped = p.path()
		}
		return err
	})
}

// empty reports a value without content: null, "", [] or {}.
func empty(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n:,")
	if len(raw) < 2 || raw[0] == 'n' {
		return len(raw) == 0 || raw[0] == 'n'
	}
	switch raw[0] {
	case '"':
		return len(raw) == 2
	case '[', '{':
		return len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
	}
	return false
}

// checkItem refuses items whose size nobody knows, and keeps the names of those
// whose size is somewhere else.
func (p *parser) checkItem(it *item, size int64) {
	c := &p.call
	if it.result != nil && it.kind != "program_output" {
		c.images = append(c.images, *it.result)
		if it.kind == "image_generation_call" {
			c.payload += it.payload
		}
	}
	if it.kind == "compaction_trigger" {
		c.compacts = true
	}
	if it.id != "" && !it.whole() {
		c.stored.ids = append(c.stored.ids, it.id)
	}
	switch {
	case !knownItem(it.kind):
		if c.unbounded == nil {
			field := p.path()
			c.refuse("unbounded_input", field+".type", fmt.Sprintf("%s.type is %q, whose size is unknown; send messages and tool calls", field, clip(it.kind)))
		}
		return
	case it.untyped != "" && it.kind != "mcp_list_tools":
		c.refuse("unbounded_tool", it.untyped, it.untyped+" has no type, and so may be a tool that the provider runs; send function tools")
		return
	case it.whole():
		if it.named {
			p.keepName(StoredName{ID: it.id, Kind: CarriedItem, Bytes: size})
		}
		return
	case !it.named && it.kind != "item_reference":
		return // nothing to find it by
	}
	if c.stored.why == nil {
		p.stores(p.path())
	}
	switch it.kind {
	case "", "item_reference", "message", "agent_message", "reasoning", "function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call":
		p.keepName(StoredName{ID: it.id, Kind: StoredItem})
	case "image_generation_call", "compaction", "compaction_summary", "context_compaction": // whose size no report tells
		c.stored.other = true
	default:
		p.keepName(StoredName{ID: it.id, Kind: StoredToolUse})
	}
}

// openDocument is why a document may fill the context; nil: none does.
func (m *Model) openDocument(c *Call) *budget.Error {
	if c.pdf.unproven || m.Row.rules.pdfPage == 0 || m.Row.rules.image == nil {
		return c.pdf.why
	}
	return nil
}

// hide bounds input that is not in the body: by what was settled, else it may
// fill the context.
func (m *Model) hide(a *arithmetic, c *Call) error {
	s := &c.stored
	open := m.openDocument(c)
	if s.settled && open == nil && !s.other {
		if a.hidden = s.tokens; a.hidden > 0 {
			a.hiddenNote = "what it names was at most so much when it was settled"
			a.input += a.hidden
		}
		return nil
	}
	why := s.why
	if why == nil {
		why = open
	}
	if why == nil {
		return nil
	}
	if m.Row.Context == 0 {
		return budget.Invalid(why.Reason, why.Field, fmt.Sprintf("%s can be as long as the context of %s, which is unknown; send what it stands for, or add to the configuration:\nmodels:\n- model: %s\n  limits: {context: <tokens>}", why.Field, m.Slug, m.Slug))
	}
	a.hidden, a.hiddenNote = m.Row.Context, "a reference or a PDF may fill the model's context"
	a.input = max(a.input, a.hidden)
	return nil
}
