package budget

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tag names what a call is for, as sent in the x-aig-tag header: 1-64 bytes of
// printable UTF-8. "/" separates the levels of a hierarchy.
type Tag string

// Untagged is the tag of a call that sent none, made with a key that has no
// default tag.
const Untagged Tag = "untagged"

// MaxTagBytes is the longest tag.
const MaxTagBytes = 64

// ParseTag checks a tag sent by a client. The error is an invalid_request_error
// with reason tag_invalid.
func ParseTag(s string) (Tag, error) {
	if err := CheckTag("x-aig-tag", s); err != nil {
		return "", err
	}
	return Tag(s), nil
}

// CheckTag is ParseTag's check for a tag that came in another field.
func CheckTag(field, s string) error {
	if msg := tagProblem(s); msg != "" {
		return Invalid("tag_invalid", field, field+" "+msg)
	}
	return nil
}

func tagProblem(s string) string {
	switch {
	case s == "":
		return "is empty; name what the call is for, or leave the header out"
	case len(s) > MaxTagBytes:
		return fmt.Sprintf("is %d bytes long; use at most %d", len(s), MaxTagBytes)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.Trim(s, " ") != s:
		return "begins or ends with a space, which no header keeps; leave it out"
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("contains %U; use printable characters only", r)
		}
	}
	return ""
}

// TagPattern selects tags: "team/a" that tag alone, "team/a/**" that tag and
// everything below it, "**" every tag.
type TagPattern string

// AllTags matches every tag.
const AllTags TagPattern = "**"

// ParseTagPattern checks a pattern of an API request or a configuration; field
// is what the error names. A * anywhere but in the forms above is refused.
func ParseTagPattern(field, s string) (TagPattern, error) {
	p := TagPattern(s)
	if p == AllTags {
		return p, nil
	}
	base := string(p)
	if root, ok := p.Subtree(); ok {
		base = string(root)
	}
	msg := tagProblem(base)
	if msg == "" && strings.Contains(base, "*") {
		// Taken for a name, it would be a cap on nothing.
		msg = fmt.Sprintf("is %q; end it with /** for everything below a tag, or write ** for every tag: * stands for nothing else", s)
	}
	if msg != "" {
		return "", Invalid("tag_invalid", field, field+" "+msg)
	}
	return p, nil
}

// PatternsOf are all patterns that select t.
func PatternsOf(t Tag) []TagPattern {
	out := []TagPattern{AllTags, TagPattern(t), TagPattern(t) + "/**"}
	for i := range t {
		if t[i] == '/' {
			out = append(out, TagPattern(t[:i])+"/**")
		}
	}
	return out
}

// Subtree returns the root of a "root/**" pattern.
func (p TagPattern) Subtree() (Tag, bool) {
	root, ok := strings.CutSuffix(string(p), "/**")
	return Tag(root), ok
}

// Matches reports whether the pattern selects t.
func (p TagPattern) Matches(t Tag) bool {
	if p == AllTags || Tag(p) == t {
		return true
	}
	root, ok := p.Subtree()
	return ok && (t == root || strings.HasPrefix(string(t), string(root)+"/"))
}
