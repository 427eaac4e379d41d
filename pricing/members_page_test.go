package pricing

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"aigateway/internal/goldentest"
)

// innerObjects are all scopes below the top level.
func innerObjects() []*scope {
	return []*scope{messageObject, partObject, imageObject, audioObject, toolCallObject, itemObject, itemPartObject, turnObject, blockObject, toolChangeObject, sourceObject, toolObject, containerObject, cacheOptionsObject, reasoningObject, documentObject, optionsObject}
}

// membersPage is docs/members.md.
func membersPage() string {
	var b strings.Builder
	b.WriteString(`# What a body's members mean here

Written by ` + "`go test ./pricing -run TestMembersPage -update`" + ` from the tables that the parser works by: [endpoint.go](../pricing/endpoint.go), [members_top.go](../pricing/members_top.go), [members_inner.go](../pricing/members_inner.go).

A member is **read**, when it decides money; **refused**, when what it asks for has no bound (null, false and [] ask for nothing); or **harmless**. Names that only differ from a read or refused one in case or in ` + "`_`, `-`, `.`" + ` and blanks are refused too: some servers take them for it. Members that nobody here knows pass, unless the provider has ` + "`strict_body`" + `. ` + "`cache_control`" + ` is read at any depth.

The fields of a form, multipart/form-data, are its members, and its files those members that may be one.

A refusal with the reason unbounded_… matters only where a budget watches the call; one with unsupported_feature always does.

## Endpoints

| Name | Path | | Output capped by | Usage, unless the provider says otherwise |
|---|---|---|---|---|
`)
	for _, d := range declarations {
		dialect := d.dialect
		if dialect == "" {
			dialect = "as the provider's chat"
		}
		capped := names(d.caps)
		if d.makes {
			capped = "what the model publishes"
		}
		about := d.about
		if d.forms {
			about += "; a form, or JSON"
		}
		fmt.Fprintf(&b, "| %s | `POST %s` | %s | %s | %s |\n", d.name, strings.Join(d.name.Paths(), "`, `"), about, capped, dialect)
	}
	b.WriteString("\n## Top-level members\n\n")
	table(&b, topLevel, true)
	b.WriteString("\nHarmless everywhere, unless a row above says otherwise: " + names(harmless) + ".\n")
	for _, s := range innerObjects() {
		fmt.Fprintf(&b, "\n## In %s\n\n", s.about)
		table(&b, s.members, false)
		var known []string
		for _, m := range s.members {
			if !m.acts() {
				known = append(known, m.name)
			}
		}
		if len(known) > 0 {
			b.WriteString("\nHarmless: " + names(known) + ".\n")
		}
	}
	return b.String()
}

// table lists what the parser acts on.
func table(b *strings.Builder, members []member, top bool) {
	where := func(m *member) string {
		if m.in == everywhere {
			return "all"
		}
		var in, out []string
		for _, d := range declarations {
			if m.in&d.in != 0 {
				in = append(in, string(d.name))
			} else {
				out = append(out, string(d.name))
			}
		}
		if len(out) < len(in) {
			return "all but " + strings.Join(out, ", ")
		}
		return strings.Join(in, ", ")
	}
	head, rule := "| Member | |", "|---|---|"
	if top {
		head, rule = "| Member | Endpoints | |", "|---|---|---|"
	}
	b.WriteString(head + "\n" + rule + "\n")
	for _, m := range members {
		what := m.about
		switch {
		case m.reason != "":
			what = "refused, " + m.reason + ": " + m.remedy
			if m.file != nil {
				what = "a file in a form: by what is in it; else " + what
			}
		case !m.acts():
			if !top {
				continue
			}
			what = "harmless"
		}
		if top {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.name, where(&m), what)
		} else {
			fmt.Fprintf(b, "| `%s` | %s |\n", m.name, what)
		}
	}
}

func names(list []string) string {
	if len(list) == 0 {
		return "no output"
	}
	return "`" + strings.Join(list, "`, `") + "`"
}

// The page says what the parser does.
func TestMembersPage(t *testing.T) {
	goldentest.Equal(t, "../docs/members.md", membersPage())
}

// Each name has one meaning at one place, each row says what it does, and each
// endpoint is whole.
func TestTables(t *testing.T) {
	seen := map[string]endpoints{}
	for _, m := range topLevel {
		if m.in == 0 || m.in&^everywhere != 0 || seen[m.name]&m.in != 0 {
			t.Errorf("%s stands twice on an endpoint, or on none", m.name)
		}
		seen[m.name] |= m.in
		if (m.read != nil) != (m.about != "") || (m.reason != "") != (m.remedy != "") || m.read != nil && m.reason != "" {
			t.Errorf("%s has no meaning, or two", m.name)
		}
	}
	for i, name := range harmless {
		if slices.Contains(harmless[:i], name) {
			t.Errorf("%s is harmless twice", name)
		}
	}
	for _, s := range innerObjects() {
		if len(s.named) != len(s.members) {
			t.Errorf("a name stands twice in %s", s.about)
		}
		for _, m := range s.members {
			if m.acts() && m.about == "" && m.remedy == "" {
				t.Errorf("%s in %s has no meaning", m.name, s.about)
			}
		}
	}
	var all endpoints
	for _, d := range declarations {
		own := d.in&all == 0 || d.free || d.summary // those read the body of another
		if d.in == 0 || !own || d.about == "" || !strings.HasPrefix(d.path, "/") || d.members == nil {
			t.Errorf("%s is not declared whole", d.name)
		}
		all |= d.in
	}
	if all != everywhere {
		t.Errorf("everywhere is %b, the endpoints are %b", everywhere, all)
	}
	for _, m := range topLevel {
		if longest := len(m.name); longest > longestName/2 {
			t.Errorf("%s is too long for the guard", m.name)
		}
	}
}
