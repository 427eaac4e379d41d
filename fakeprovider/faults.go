package fakeprovider

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Faults is how one answer misbehaves, or is shaped; the zero value is an
// honest answer. Requests choose theirs with a text in the last user message
// (or the embeddings input):
//
//	fault:reset_after=3 delay=50ms
//
// Words follow "fault:" up to the end of its line; each is a name of
// ParseFaults.
type Faults struct {
	HeaderDelay time.Duration // header_delay=50ms: before the status line
	ChunkDelay  time.Duration // delay=50ms: before each chunk of a stream

	Status int // status=429: this error instead of an answer, unbilled

	ResetBeforeHeaders bool // reset_before_headers: TCP reset once the work is done
	ResetAfterHeaders  bool // reset_after_headers: TCP reset before the body
	ResetAfter         int  // reset_after=3: TCP reset after that many chunks
	CutAfter           int  // cut_after=3: connection closed, body unfinished, after that many chunks
	ErrorAfter         int  // error_after=3: an error event, and the end, after that many chunks
	FailAfter          int  // fail_after=3: as error_after; a response fails with its usage
	Hang               bool // hang: never answers; ends when the client leaves
	HangAfter          int  // hang_after=3: nothing more after that many chunks

	NoUsage      bool // no_usage: no report at all; the call is billed
	RunningUsage bool // running_usage: cumulative usage in every chunk
	ZeroFirst    bool // zero_first: zeros in the first chunk of a stream
	NoDone       bool // no_done: the stream ends without [DONE]
	BadUsage     bool // bad_usage: usage members are strings
	Gzip         bool // gzip: the answer is packed, which nobody asked for
	NotJSON      bool // not_json: status 200 with a body that is no JSON; billed

	Split      int  // split=7: bytes per write, each flushed
	CRLF       bool // crlf: lines end with CRLF
	Comments   bool // comments: ": keep-alive" lines between events
	BlankFirst bool // blank_first: empty lines before a non-stream answer
	Extra      bool // extra: members no client has heard of
	Hostile    bool // hostile: output text that imitates usage reports and events
	Pad        int  // pad=1000: as many more bytes in the first content of a choice

	Output      int64 // out=100: output tokens per choice, at most the cap
	Cached      int64 // cached=20: prompt tokens read from a cache
	Written     int64 // written=20: prompt tokens written to a cache, where the request allows it
	WrittenLong int64 // written_long=20: those that stay there for an hour or longer
	Thoughts    int64 // thoughts=9: output tokens outside completion_tokens but inside the total
	Reasoning   int64 // reasoning=9: output tokens without text, where the dialect counts them
	Searches    int64 // searches=2: web searches, as far as the request has the tool

	Max    bool   // max: the most a request can cost: a token per byte, every choice full
	Served string // served=id: the model named in the answer; prices stay

	Says  string // says=text: this text, without spaces, is the answer
	Calls string // calls=name: calls that function of the request, until results are in the request
}

// ParseFaults reads space-separated words; each field of Faults names its own.
func ParseFaults(text string) (Faults, error) {
	var f Faults
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		if err := f.set(name, value); err != nil {
			return Faults{}, fmt.Errorf("fault %q: %w", word, err)
		}
	}
	return f, nil
}

func (f *Faults) set(name, value string) (err error) {
	flags := map[string]*bool{
		"reset_before_headers": &f.ResetBeforeHeaders, "reset_after_headers": &f.ResetAfterHeaders,
		"hang": &f.Hang, "no_usage": &f.NoUsage, "zero_first": &f.ZeroFirst, "running_usage": &f.RunningUsage, "no_done": &f.NoDone,
		"bad_usage": &f.BadUsage, "gzip": &f.Gzip, "not_json": &f.NotJSON, "crlf": &f.CRLF, "comments": &f.Comments,
		"blank_first": &f.BlankFirst, "extra": &f.Extra, "hostile": &f.Hostile, "max": &f.Max,
	}
	counts := map[string]*int{
		"status": &f.Status, "reset_after": &f.ResetAfter, "cut_after": &f.CutAfter, "error_after": &f.ErrorAfter,
		"fail_after": &f.FailAfter, "hang_after": &f.HangAfter, "split": &f.Split, "pad": &f.Pad,
	}
	tokens := map[string]*int64{
		"out": &f.Output, "cached": &f.Cached, "written": &f.Written, "written_long": &f.WrittenLong,
		"thoughts": &f.Thoughts, "reasoning": &f.Reasoning, "searches": &f.Searches,
	}
	texts := map[string]*string{"served": &f.Served, "says": &f.Says, "calls": &f.Calls}
	delays := map[string]*time.Duration{"header_delay": &f.HeaderDelay, "delay": &f.ChunkDelay}
	switch {
	case flags[name] != nil && value == "":
		*flags[name] = true
	case counts[name] != nil:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 31)
		*counts[name] = int(n)
	case tokens[name] != nil:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 31)
		*tokens[name] = int64(n)
	case delays[name] != nil:
		*delays[name], err = time.ParseDuration(value)
	case texts[name] != nil && value != "":
		*texts[name] = value
	default:
		err = fmt.Errorf("unknown name or missing value")
	}
	return err
}

// SetFaults makes f the faults of every request that brings none itself.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// misbehave takes the faults that a text of the request asks for, else the
// server's. It refuses the call and returns false where they make no sense; param
// is the member that has the text.
func (c *call) misbehave(param, text string) bool {
	faults, err := c.server.faultsFor(text)
	if err != nil {
		c.refuse(*invalid(param, err.Error()))
		return false
	}
	c.faults = faults
	if faults.Gzip {
		c.w = pack(c.w)
	}
	return true
}

// faultsFor are the faults a text asks for, else the server's.
func (s *Server) faultsFor(text string) (Faults, error) {
	if _, words, ok := strings.Cut(text, "fault:"); ok {
		words, _, _ = strings.Cut(words, "\n")
		return ParseFaults(words)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults, nil
}
