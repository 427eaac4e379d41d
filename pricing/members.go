package pricing

import (
	"fmt"
	"unicode/utf8"
)

// Every name of a body's members that means something here stands in the tables
// of this file and the next, once: what is read, what is refused, what is known
// to be harmless. The parser, the guard against other spellings, the refusals
// and docs/members.md follow from them.

// endpoints is a set of endpoints.
type endpoints uint16

const (
	inChat endpoints = 1 << iota
	inEmbeddings
	inResponses
	inMessages
	inCompletions
	inRerank
	inModerations
	inImages
	inImageEdits
	inSpeech
	inTranscriptions
	inTranslations
	endOfEndpoints

	everywhere = endOfEndpoints - 1
	drawing    = inImages | inImageEdits
	hearing    = inTranscriptions | inTranslations
	generating = inChat | inResponses | inMessages | inCompletions
)

// member is one name in one kind of object. One without read, id and reason is
// harmless: it decides no money.
type member struct {
	name string
	in   endpoints // of a top-level member: where it means this

	about string                  // of one that is read: what it decides
	read  func(*parser) error     // reads the value of a top-level member …
	id    memberID                // … and elsewhere says which it is
	text  func(*textWalker) error // counts the text in it; nil: it keeps its bytes

	file  func(*parser, []byte) error // in a form, reads a file of this name
	plain bool                        // in a form, its text is a number or a truth, as JSON has them
	list  bool                        // in a form, its name may have brackets, and stand more than once

	reason, remedy string // of one that has no bound
}

// scope is a kind of object, with its members.
type scope struct {
	about   string
	members []member
	named   map[string]*member
	folded  map[string]*member // those that are read or refused, by folded name
}

func newScope(about string, members []member) *scope {
	s := &scope{about: about, members: members, named: make(map[string]*member), folded: make(map[string]*member)}
	for i := range members {
		m := &members[i]
		s.named[m.name] = m
		if m.acts() {
			s.folded[string(fold(nil, []byte(m.name)))] = m
		}
	}
	return s
}

// acts reports whether the parser does something with the member.
func (m *member) acts() bool { return m.read != nil || m.id != 0 || m.reason != "" }

// fold is a name without what careless servers overlook: case and the marks
// between words. They take maxTokens, Max_Tokens and max-tokens for max_tokens.
func fold(dst, name []byte) []byte {
	for len(name) > 0 {
		r, n := rune(name[0]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(name)
		}
		switch {
		case r >= 'A' && r <= 'Z':
			r += 'a' - 'A'
		case r == 'ſ': // folds to s
			r = 's'
		case r == '\u212a': // the kelvin sign folds to k
			r = 'k'
		case r == '_', r == '-', r == ' ', r == '.':
			name = name[n:]
			continue
		}
		dst = utf8.AppendRune(dst, r)
		name = name[n:]
	}
	return dst
}

// longestName is longer than any member that is read or refused.
const longestName = 64

// respelt finds the member that some server takes name for. {"max_tokens":1,
// "Max_Tokens":100000} has a cap of 1 to most, and of 100000 to those that match
// names without regard to case.
func (s *scope) respelt(name []byte) *member {
	if len(name) > longestName {
		return nil
	}
	var storage [longestName]byte
	return s.folded[string(fold(storage[:0], name))]
}

// find says which member of s a name is. Of one that nobody here knows it has
// read the value. A nil member is done.
func (p *parser) find(s *scope, name []byte) (memberID, error) {
	m := s.named[string(name)]
	if m == nil {
		if m = s.respelt(name); m == nil {
			return done, p.walkMember(name)
		}
		if m.reason == "" {
			return done, p.invalid(fmt.Sprintf("is spelt like %s; write %s", m.name, m.name))
		}
	}
	switch {
	case m.reason != "":
		return done, p.refused("", m.reason, m.remedy)
	case m.id == 0:
		return done, p.walkMember(name)
	}
	return m.id, nil
}

// topMember reads one top-level member.
func (p *parser) topMember(name []byte) error {
	held, at := p.call.hidden.note(name), p.dec.InputOffset()
	err := p.readTopMember(name)
	if held {
		p.call.hidden.held += p.dec.InputOffset() - at
	}
	return err
}

func (p *parser) readTopMember(name []byte) error {
	m := p.top.named[string(name)]
	if m == nil {
		if m = p.top.respelt(name); m == nil {
			if p.call.unread == "" {
				p.call.unread = string(name)
			}
			return p.walkMember(name)
		}
		if m.reason == "" {
			return p.invalid(fmt.Sprintf("is spelt like %s; write %s", m.name, m.name))
		}
	}
	switch {
	case m.reason != "":
		return p.refused(string(name), m.reason, m.remedy)
	case m.read != nil:
		return m.read(p)
	}
	return p.walkMember(name)
}
