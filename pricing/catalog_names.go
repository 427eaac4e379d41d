package pricing

import (
	"slices"
	"strings"
	"time"
)

// Names of models come in many spellings: in requests, in providers' answers and
// in their exports. All are read here.

// VendorNames are what price lists, SDKs and vendors call a provider that is
// called otherwise here: the ids of genai-prices and models.dev, the prefixes of
// LiteLLM and of OpenRouter's slugs. "models" is what the Gemini API's own names
// begin with, as in models/gemini-2.5-pro.
func VendorNames(provider string) []string {
	switch provider {
	case "deepseek":
		return []string{"deepseek-ai"}
	case "gemini":
		return []string{"google", "models"}
	case "jina":
		return []string{"jina_ai", "jinaai"}
	case "mistral":
		return []string{"mistralai"}
	case "moonshot":
		return []string{"moonshotai"}
	case "voyage":
		return []string{"voyageai"}
	case "xai":
		return []string{"x-ai"}
	}
	return nil
}

// configured is the name here of a provider that vendors may call otherwise: a
// name that the operator gave is taken as it is.
func (c *Catalog) configured(name string) (provider, bool) {
	if u, ok := c.providers[name]; ok {
		return u, true
	}
	for ours, u := range c.providers { // at most one has the name
		if slices.Contains(VendorNames(ours), name) {
			return u, true
		}
	}
	return provider{}, false
}

// index is the rows by what they are called, as provider/name.
type index struct {
	slugs   map[string]*entry // as written, with aliases
	sent    map[string]*entry // as providers are sent them
	spelled map[string]*entry // both, in spelling; nil: two models are spelled so
}

// find returns the row that a name means: written so, else in another spelling,
// else as a version of it. version is what the name has beyond the model that is
// sent, to be sent with it. fromProvider says that the provider wrote the name:
// what it is sent comes before what we call it.
//
// A name that ends in -latest is sent without it: the price is that of what is
// sent, and what -latest means changes. Rows that are called so themselves are
// another matter; their price is that of the dearest that they may mean.
func (n *index) find(slug string, fromProvider bool) (e *entry, version string) {
	if e = n.exact(slug, fromProvider); e != nil {
		return e, ""
	}
	if base, variant, ok := cutVariant(slug); ok {
		return n.exact(base, fromProvider), variant
	}
	base, version, ok := cutVersion(slug)
	if !ok {
		return nil, ""
	}
	if e = n.exact(base, fromProvider); e == nil || version != "" && !e.dated {
		return nil, ""
	}
	return e, version
}

func (n *index) exact(slug string, fromProvider bool) *entry {
	first, second := n.slugs, n.sent
	if fromProvider {
		first, second = second, first
	}
	if e := first[slug]; e != nil {
		return e
	}
	if e := second[slug]; e != nil {
		return e
	}
	return n.spelled[spelling(slug)]
}

// spelling is a name without what vendors write one way here and another way
// there: claude-sonnet-4.6 is claude-sonnet-4-6, and Google's names begin with
// models/ or do not.
func spelling(slug string) string {
	provider, name, _ := strings.Cut(slug, "/")
	name = strings.TrimPrefix(name, "models/")
	if !strings.Contains(name, ".") {
		return provider + "/" + name
	}
	b := []byte(name)
	for i := 1; i < len(b)-1; i++ {
		if b[i] == '.' && isDigit(b[i-1]) && isDigit(b[i+1]) {
			b[i] = '-'
		}
	}
	return provider + "/" + string(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// cutVersion removes what names a version of a model: -2026-03-17, -20260317,
// @20260317 and -latest. The version is empty for the last.
func cutVersion(slug string) (base, version string, ok bool) {
	if base, ok = strings.CutSuffix(slug, "-latest"); ok {
		return base, "", true
	}
	for _, layout := range []string{"-2006-01-02", "-20060102", "@20060102"} {
		if n := len(slug) - len(layout); n > 0 {
			if _, err := time.Parse(layout, slug[n:]); err == nil {
				return slug[:n], slug[n:], true
			}
		}
	}
	return "", "", false
}

// cutVariant removes what only says among which of OpenRouter's hosts of a model to
// choose first, as provider.sort does; what a host may cost is limited either way.
// Other variants, such as :free and :extended, have prices of their own.
// https://openrouter.ai/docs/guides/routing/model-variants
func cutVariant(slug string) (base, variant string, ok bool) {
	if !strings.HasPrefix(slug, "openrouter/") {
		return "", "", false
	}
	for _, variant := range []string{":nitro", ":floor", ":exacto"} {
		if base, ok := strings.CutSuffix(slug, variant); ok {
			return base, variant, true
		}
	}
	return "", "", false
}

// sameModel compares names without their versions.
func sameModel(a, b string) bool {
	return a == b || unversioned(a) == unversioned(b)
}

func unversioned(name string) string {
	if base, _, ok := cutVersion(name); ok {
		name = base
	}
	return spelling("/" + name)
}

// newIndex makes the rows findable. Two rows with the same spelling are found as
// they are written, and in no other way. A row of which a version has a dearer
// row of its own has no other versions: they may cost as much.
func newIndex(entries map[string]*entry, slugs []string) index {
	n := index{slugs: entries, sent: make(map[string]*entry, len(slugs)), spelled: make(map[string]*entry, 2*len(slugs))}
	spell := func(name string, e *entry) {
		key := spelling(name)
		if other, taken := n.spelled[key]; taken && other != e {
			e = nil
		}
		n.spelled[key] = e
	}
	for _, slug := range slugs { // sorted: of two rows that are sent as the same, the first is found
		e := entries[slug]
		provider, _, _ := strings.Cut(slug, "/")
		if sent := provider + "/" + e.upstreamModel; n.sent[sent] == nil {
			n.sent[sent] = e
		}
		spell(slug, e)
		spell(provider+"/"+e.upstreamModel, n.sent[provider+"/"+e.upstreamModel])
	}
	for _, slug := range slugs {
		for _, a := range entries[slug].aliases {
			entries[a] = entries[slug]
			spell(a, entries[slug])
		}
	}
	for _, slug := range slugs {
		base, version, ok := cutVersion(slug)
		if !ok || version == "" {
			continue
		}
		if e := n.exact(base, false); e != nil && e.dated && entries[slug].dearerThan(e) {
			e.dated = false
		}
	}
	return n
}

// dearerThan reports whether any price of the row's, at any time, is above what
// the other has then.
func (e *entry) dearerThan(o *entry) bool {
	for _, r := range slices.Concat(e.rows, o.rows) {
		a, b := e.rowAt(r.From), o.rowAt(r.From)
		if a == nil || b == nil {
			continue
		}
		for _, t := range dearer(a.tiers, b.tiers) {
			for k := range bucketCount {
				if t.priced(k) && t.price(k) > at(b.tiers, t.from).price(k) {
					return true
				}
			}
		}
	}
	return false
}
