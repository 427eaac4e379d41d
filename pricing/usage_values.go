package pricing

import (
	"bytes"
	"strconv"
	"strings"

	"aigateway/budget"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The values of a report are read one by one: a member that means nothing here
// may have any shape, and stand twice. What decides money and cannot be read is
// remembered as such; whoever needs it then has no report.

// readReport reads a report into r, a struct of these values.
func readReport(raw string, r any) error {
	if json.Unmarshal([]byte(raw), r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return errUsage
	}
	return nil
}

// maxCount keeps sums of counts far from overflow. A larger count is that many:
// its bill is absurd either way.
const maxCount = 1 << 50

// tally is a number of tokens or of uses. null says nothing.
type tally struct {
	n   int64
	set bool
	bad bool // it cannot be read, or stands twice with different values
}

// UnmarshalJSONFrom is called by the JSON package for each value the member has.
func (c *tally) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	c.take(raw, false)
	return err
}

// take reads a number, also one in a string; parts of a token round up where
// they are usual and are no count elsewhere.
func (c *tally) take(raw jsontext.Value, roundUp bool) {
	if raw.Kind() == 'n' {
		return
	}
	n, whole, ok := number(raw)
	switch {
	case !ok || !whole && !roundUp || c.set && c.n != n:
		c.bad = true
	default:
		c.n, c.set = n, true
	}
}

// value is the count; 0 where there is none.
func (c *tally) value() int64 {
	if c.bad {
		return 0
	}
	return c.n
}

// pointer is nil where there is no count.
func (c *tally) pointer() *int64 {
	if !c.set {
		return nil
	}
	return &c.n
}

// rounded is a count that providers write with decimals, as Cohere does.
type rounded struct{ tally }

// UnmarshalJSONFrom is as tally's.
func (c *rounded) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	c.take(raw, true)
	return err
}

// largest is the most that several spellings of one count say.
func largest(list ...*tally) tally {
	var out tally
	for _, c := range list {
		out.n, out.set, out.bad = max(out.n, c.value()), out.set || c.set, out.bad || c.bad
	}
	return out
}

// group is an object in a report. Something empty in its place, as PHP writes
// objects without members, says nothing.
type group[T any] struct {
	v   T
	bad bool // it is no object, and not empty
}

// UnmarshalJSONFrom is called by the JSON package for each value the member has.
func (g *group[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		return json.UnmarshalDecode(dec, &g.v)
	}
	raw, err := dec.ReadValue()
	switch text := string(raw); {
	case text == "null", text == "false", text == "0", text == `""`:
	case raw.Kind() == '[' && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0:
	default:
		g.bad = true
	}
	return err
}

// word is a name such as a service tier's; what is no string says nothing.
type word string

// twice stands for two names that differ: none that anybody knows.
const twice word = "named twice"

// UnmarshalJSONFrom is called by the JSON package for each value the member has.
func (w *word) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	var s string
	if json.Unmarshal(raw, &s, jsontext.AllowInvalidUTF8(true)) != nil || s == "" {
		return err
	}
	if *w != "" && *w != word(s) {
		*w = twice
		return nil
	}
	*w = word(s)
	return nil
}

// flagged is a truth; what is none is false.
type flagged bool

// UnmarshalJSONFrom is called by the JSON package for each value the member has.
func (f *flagged) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	*f = *f || flagged(unquoted(raw) == "true")
	return err
}

// dollars is an amount of money; what cannot be read is none.
type dollars struct {
	amount budget.Amount
	set    bool
	bad    bool
}

// UnmarshalJSONFrom is called by the JSON package for each value the member has.
func (d *dollars) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	d.take(raw)
	return err
}

func (d *dollars) take(raw jsontext.Value) {
	if raw.Kind() == 'n' {
		return
	}
	amount, ok := nanoUSD([]byte(unquoted(raw)))
	d.bad = d.bad || !ok || d.set && d.amount != amount
	d.amount, d.set = amount, true
}

func (d *dollars) value() (budget.Amount, bool) { return d.amount, d.set && !d.bad }

// unquoted is a number as it is written, also in a string.
func unquoted(raw jsontext.Value) string {
	if raw.Kind() == '"' {
		return strings.TrimSpace(string(raw[1 : len(raw)-1]))
	}
	return string(raw)
}

// number reads a JSON number of at least 0, also one in a string, rounded up;
// whole says that nothing was. From maxCount on it is maxCount.
func number(raw jsontext.Value) (n int64, whole, ok bool) {
	mantissa, exponent, scaled := strings.Cut(strings.ToLower(unquoted(raw)), "e")
	left, right, pointed := strings.Cut(mantissa, ".")
	point := len(left)
	if scaled {
		e, err := strconv.Atoi(exponent)
		if err != nil {
			return 0, false, false
		}
		point += max(-1<<20, min(e, 1<<20))
	}
	if left == "" || pointed && right == "" {
		return 0, false, false
	}
	whole = true
	digits := left + right
	for i := range len(digits) {
		d := int64(digits[i]) - '0'
		switch {
		case d < 0 || d > 9:
			return 0, false, false
		case i < point:
			n = min(n*10+d, maxCount)
		case d > 0:
			whole = false
		}
	}
	for i := len(digits); i < point && n > 0 && n < maxCount; i++ {
		n = min(n*10, maxCount)
	}
	if !whole {
		n = min(n+1, maxCount)
	}
	return n, whole, true
}

// valuesAt calls f with each value at a path of member names joined by dots.
func valuesAt(v jsontext.Value, path string, f func(jsontext.Value)) {
	name, rest, more := strings.Cut(path, ".")
	dec := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if dec.PeekKind() != '{' {
		return
	}
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return
		}
		match := key.String() == name
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		switch {
		case !match:
		case more:
			valuesAt(value.Clone(), rest, f)
		default:
			f(value)
		}
	}
}
