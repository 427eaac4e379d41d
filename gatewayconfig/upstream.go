package gatewayconfig

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"aigateway/pricing"
)

// upstream is how a provider speaks: what the file says, else its preset.
func (v *validator) upstream(field, name string, f fileProvider, base preset) pricing.Upstream {
	u := pricing.Upstream{
		Provider:            name,
		Dialect:             first(cmp.Or(base.Dialect, pricing.DialectOpenAIChat), f.Dialect),
		Dialects:            v.dialects(field, f.Endpoints, base.Endpoints),
		Extractor:           v.extractor(join(field, "extractor"), f.Extractor),
		StreamUsage:         first(base.StreamUsage, f.StreamUsage),
		CapField:            first(base.CapField, f.CapField),
		Honours:             base.Honours,
		CancelsOnDisconnect: first(base.CancelsOnDisconnect, f.CancelsOnDisconnect),
		StreamsAllOutput:    first(base.StreamsAllOutput, f.StreamsAllOutput),
		MaxTokensPerSecond:  v.within(join(field, "max_tokens_per_second"), first(base.MaxTokensPerSecond, f.MaxTokensPerSecond), 0, 1_000_000),
		DefaultTier:         v.word(join(field, "default_tier"), first("", f.DefaultTier), "service tier", "default, flex or priority"),
		DefaultMaxTokens:    v.within(join(field, "default_max_tokens"), first(0, f.DefaultMaxTokens), 0, 10_000_000),
		DefaultMaxToolCalls: v.within(join(field, "default_max_tool_calls"), first(0, f.DefaultMaxToolCalls), 0, 1000),
		DefaultGeo:          v.word(join(field, "default_geo"), first("", f.DefaultGeo), "inference geography", "us or global"),
		PriceMultiplier:     v.multiplier(join(field, "price_multiplier"), first("", f.PriceMultiplier)),
		InputBound:          first("", f.InputBound),

		RequireMaxTokens:       first(false, f.RequireMaxTokens),
		StrictBody:             first(false, f.StrictBody),
		DenyOmittedImageDetail: first(false, f.DenyOmittedImageDetail),
		AllowPDF:               first(base.AllowPDF, f.AllowPDF),
		AllowStoredInput:       first(false, f.AllowStoredInput),
		Deployments:            base.Deployments,
	}
	if f.Honours != nil {
		u.Honours = f.Honours
	}
	v.checkUpstream(field, f, &u)
	return u
}

// multiplier checks a factor on prices, which is kept as it is written: money is
// exact.
func (v *validator) multiplier(field, s string) string {
	if err := pricing.CheckMultiplier(s); err != nil {
		v.fail(field, "%v", err)
	}
	return s
}

// checkUpstream checks what the file gave; a test checks the presets.
func (v *validator) checkUpstream(field string, f fileProvider, u *pricing.Upstream) {
	if f.Dialect != nil {
		v.oneOf(join(field, "dialect"), u.Dialect, pricing.Dialects()...)
	}
	if f.StreamUsage != nil {
		v.oneOf(join(field, "stream_usage"), u.StreamUsage, pricing.StreamUsageInject, pricing.StreamUsageRequire, pricing.StreamUsageNative, pricing.StreamUsageChargeBound)
	}
	if f.InputBound != nil {
		v.oneOf(join(field, "input_bound"), u.InputBound, pricing.InputBoundBytes, pricing.InputBoundTokenizer)
	}
	if f.CapField != nil {
		v.oneOf(join(field, "cap_field"), u.CapField, capFields()...)
	}
	for i, name := range f.Honours {
		v.oneOf(join(field, "honours")+"["+strconv.Itoa(i)+"]", name, capFields()...)
	}
	if len(u.Honours) > 0 && u.CapField != "" && !slices.Contains(u.Honours, u.CapField) {
		v.fail(join(field, "cap_field"), "is %s, which honours does not list, so an injected cap would have no effect; make them agree", u.CapField)
	}
	custom := u.Dialect == pricing.DialectCustom
	for _, d := range u.Dialects {
		custom = custom || d == pricing.DialectCustom
	}
	if custom && u.Extractor == nil {
		v.fail(join(field, "dialect"), "is custom, which needs an extractor that says where the counts are, such as extractor: {input: prompt_tokens, output: completion_tokens}")
	}
}

// dialects are the usage extractors of single APIs.
func (v *validator) dialects(field string, given, preset map[string]fileEndpoint) map[API]string {
	out := map[API]string{}
	for _, api := range pricing.Endpoints() {
		if d := first("", given[string(api)].Dialect, preset[string(api)].Dialect); d != "" {
			v.oneOf(join(field, "endpoints."+string(api)+".dialect"), d, pricing.Dialects()...)
			out[api] = d
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// extractor checks that every path is one: member names joined by dots.
func (v *validator) extractor(field string, x *pricing.Extractor) *pricing.Extractor {
	if x == nil {
		return nil
	}
	if x.Input == "" {
		v.fail(field, "has no input; write the path of the input tokens, such as prompt_tokens")
	}
	value := reflect.ValueOf(x).Elem()
	for i, name := range fieldNames(value.Type()) {
		if value.Field(i).Kind() != reflect.String {
			continue
		}
		p := value.Field(i).String()
		if len(p) > 80 || strings.HasPrefix(p, ".") || strings.HasSuffix(p, ".") || strings.Contains(p, "..") || !printable(p) {
			v.fail(join(field, name), "is %s, no path; write up to 80 bytes of member names joined by dots, such as details.cached_tokens", shown(p))
		}
	}
	return x
}

// word is a short value that travels in requests.
func (v *validator) word(field, text, what, such string) string {
	if len(text) > 40 || !printable(text) {
		v.fail(field, "is no %s; write a short word such as %s", what, such)
	}
	return text
}

func capFields() []string { return []string{"max_tokens", "max_completion_tokens"} }
