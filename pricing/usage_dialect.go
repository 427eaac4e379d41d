package pricing

import (
	"fmt"
	"slices"
	"strings"
)

// checkDialects refuses names nobody knows, and an extractor that is missing.
func (u *Upstream) checkDialects() error {
	custom := u.Dialect == DialectCustom
	if u.Dialect != "" && !slices.Contains(Dialects(), u.Dialect) {
		return fmt.Errorf("provider %s: dialect is %q; use one of %s", u.Provider, u.Dialect, strings.Join(Dialects(), ", "))
	}
	for e, d := range u.Dialects {
		if !e.Known() {
			return fmt.Errorf("provider %s: dialects names the endpoint %q; use one of %v", u.Provider, e, Endpoints())
		}
		if !slices.Contains(Dialects(), d) {
			return fmt.Errorf("provider %s: the dialect of %s is %q; use one of %s", u.Provider, e, d, strings.Join(Dialects(), ", "))
		}
		custom = custom || d == DialectCustom
	}
	if custom && u.Extractor == nil {
		return fmt.Errorf("provider %s: dialect custom needs an extractor that says where the counts are", u.Provider)
	}
	if u.Extractor != nil {
		if err := u.Extractor.check(); err != nil {
			return fmt.Errorf("provider %s: %w", u.Provider, err)
		}
	}
	return nil
}

// dialect is a Dialect constant's number, as it stands in pins: it never changes.
type dialect uint8

const (
	openAIChat dialect = iota
	openRouter
	openAIResponses
	anthropicMessages
	cohereRerank
	tokensRerank
	custom
	openAIMedia
)

// Dialects lists the names in the order of their numbers.
func Dialects() []string {
	return []string{DialectOpenAIChat, DialectOpenRouter, DialectOpenAIResponses, DialectAnthropicMessages, DialectCohereRerank, DialectTokensRerank, DialectCustom, DialectOpenAIMedia}
}

func dialectNumber(name string) dialect {
	switch name {
	case DialectOpenRouter:
		return openRouter
	case DialectOpenAIResponses:
		return openAIResponses
	case DialectAnthropicMessages:
		return anthropicMessages
	case DialectCohereRerank:
		return cohereRerank
	case DialectTokensRerank:
		return tokensRerank
	case DialectCustom:
		return custom
	case DialectOpenAIMedia:
		return openAIMedia
	}
	return openAIChat
}

// dialect is how the answer of a call to this endpoint reports its usage: what
// the upstream says, else what the endpoint prescribes.
func (m *Model) dialect(e Endpoint) dialect {
	if d := m.Upstream.Dialects[e]; d != "" {
		return dialectNumber(d)
	}
	d := e.declared().dialect
	switch {
	case d == "":
		d = m.Upstream.Dialect
	case d == DialectTokensRerank && m.Row != nil && m.Row.bySearchUnit():
		d = DialectCohereRerank
	}
	return dialectNumber(d)
}

// reportsCost reports whether the provider's answer names the billed amount.
func (m *Model) reportsCost() bool { return m.routesHosts() }

// bySearchUnit reports whether a reranker is billed by search units.
func (r *Row) bySearchUnit() bool { _, ok := r.fees[feeSearchUnit]; return ok }

// Extractor says where an unknown provider's usage object has its counts: paths
// of member names joined by dots, such as "details.cached". Empty: the provider
// does not report it. The tags are the keys of the configuration.
type Extractor struct {
	Input  string `yaml:"input"`  // all input; required
	Output string `yaml:"output"` // required where there is output
	Total  string `yaml:"total"`  // input and output, when output may leave something out
	// Parts of the input.
	CacheRead      string `yaml:"cache_read"`
	CacheWrite     string `yaml:"cache_write"`
	CacheWriteLong string `yaml:"cache_write_long"`
	InputAudio     string `yaml:"input_audio"`
	InputImage     string `yaml:"input_image"`
	OutputAudio    string `yaml:"output_audio"` // part of the output
	Cost           string `yaml:"cost"`         // the billed amount in US dollars
	// CacheOutside: input does not include what was read from and written to
	// the cache.
	CacheOutside bool `yaml:"cache_outside"`
}

func (x *Extractor) paths() [10]*string {
	return [10]*string{&x.Input, &x.Output, &x.Total, &x.CacheRead, &x.CacheWrite, &x.CacheWriteLong, &x.InputAudio, &x.InputImage, &x.OutputAudio, &x.Cost}
}

// maxPath keeps an extractor's paths small enough to travel in a pin.
const maxPath = 80

func (x *Extractor) check() error {
	if x.Input == "" {
		return fmt.Errorf("extractor: input is missing; write the path of the input tokens, such as prompt_tokens")
	}
	for _, p := range x.paths() {
		if len(*p) > maxPath || strings.HasPrefix(*p, ".") || strings.HasSuffix(*p, ".") || strings.Contains(*p, "..") {
			return fmt.Errorf("extractor: %q is no path of at most %d bytes; write member names joined by dots", clip(*p), maxPath)
		}
	}
	return nil
}
