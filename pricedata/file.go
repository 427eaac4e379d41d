package pricedata

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/pricing"
)

const fileHead = `# What models cost, written by ` + "`aigateway catalog import`" + `: it keeps the values it
# finds, so a price that no source knows may be set here by hand, but no comments.
# USD per million tokens; fees are USD per use. A list holds from its day on.
`

// Render is the prices file that holds these sheets, by slug.
func Render(sheets []pricing.Sheet) []byte {
	var b strings.Builder
	b.WriteString(fileHead)
	if len(sheets) == 0 {
		b.WriteString("models: []\n")
		return []byte(b.String())
	}
	b.WriteString("models:\n")
	for _, s := range slices.SortedFunc(slices.Values(sheets), func(a, b pricing.Sheet) int { return strings.Compare(a.Slug, b.Slug) }) {
		writeSheet(&b, s)
	}
	return []byte(b.String())
}

func writeSheet(b *strings.Builder, s pricing.Sheet) {
	fmt.Fprintf(b, "- model: %s\n", plain(s.Slug))
	if _, name, _ := strings.Cut(s.Slug, "/"); name != s.UpstreamModel {
		fmt.Fprintf(b, "  upstream_model: %s\n", plain(s.UpstreamModel))
	}
	if len(s.Endpoints) > 0 && !s.FamilyEndpoints {
		var names []string
		for _, e := range s.Endpoints {
			names = append(names, string(e))
		}
		fmt.Fprintf(b, "  endpoints: [%s]\n", strings.Join(names, ", "))
	}
	if l := s.Limits; l.Context > 0 || l.MaxOutput > 0 {
		fmt.Fprintf(b, "  limits: {%s}\n", strings.Join(limitFields(l), ", "))
	}
	if tiers := ownTiers(s); len(tiers) > 0 {
		fmt.Fprintf(b, "  service_tiers: {%s}\n", strings.Join(tiers, ", "))
	}
	if len(s.Peaks) > 0 {
		var peaks []string
		for _, p := range s.Peaks {
			weekdays := ""
			if p.Weekdays {
				weekdays = ", weekdays: true"
			}
			peaks = append(peaks, fmt.Sprintf(`{from: "%s", to: "%s", multiplier: "%s"%s}`, clock(p.From), clock(p.To), trim(p.Micro), weekdays))
		}
		fmt.Fprintf(b, "  peaks: [%s]\n", strings.Join(peaks, ", "))
	}
	for i, a := range s.Accepted {
		if i == 0 {
			b.WriteString("  accepted: # who let which values fall\n")
		}
		fmt.Fprintf(b, "  - {by: %s, at: %s, fields: [%s]}\n", plain(a.By), day(a.At), strings.Join(quoteAll(a.Fields), ", "))
	}
	b.WriteString("  prices:\n")
	for _, p := range s.Periods {
		writePeriod(b, p)
	}
}

// ownTiers are the service tiers it does not have from its family.
func ownTiers(s pricing.Sheet) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.ServiceTiers)) {
		if f, ok := s.FamilyTiers[name]; !ok || f != s.ServiceTiers[name] {
			out = append(out, fmt.Sprintf(`%s: "%s"`, plain(name), trim(s.ServiceTiers[name])))
		}
	}
	return out
}

func limitFields(l pricing.Limits) []string {
	var out []string
	if l.Context > 0 {
		out = append(out, "context: "+strconv.FormatInt(l.Context, 10))
	}
	if l.MaxOutput > 0 {
		out = append(out, "max_output: "+strconv.FormatInt(l.MaxOutput, 10))
	}
	if l.Source != "" {
		out = append(out, "source: "+plain(l.Source))
	}
	if !l.CheckedAt.IsZero() {
		out = append(out, "checked_at: "+day(l.CheckedAt))
	}
	return out
}

func writePeriod(b *strings.Builder, p pricing.Period) {
	var head []string
	if !p.From.IsZero() {
		head = append(head, "from: "+day(p.From))
	}
	if p.Source != "" {
		head = append(head, "source: "+plain(p.Source))
	}
	if !p.CheckedAt.IsZero() {
		head = append(head, "checked_at: "+day(p.CheckedAt))
	}
	tiers := tiersOf(p.Rates)
	lines := []string{rateFields(tiers[0])}
	if len(head) > 0 {
		lines = append([]string{strings.Join(head, ", ")}, lines...)
	}
	if len(tiers) > 1 {
		var texts []string
		for _, t := range tiers[1:] {
			texts = append(texts, fmt.Sprintf("{from: %d, %s}", t.from, rateFields(t)))
		}
		lines = append(lines, "tiers: ["+strings.Join(texts, ", ")+"]")
	}
	if len(p.Fees) > 0 {
		var fees []string
		for _, name := range slices.Sorted(maps.Keys(p.Fees)) {
			fees = append(fees, fmt.Sprintf(`%s: "%s"`, plain(name), trim(p.Fees[name]/picoPerMicro)))
		}
		lines = append(lines, "fees: {"+strings.Join(fees, ", ")+"}")
	}
	fmt.Fprintf(b, "  - {%s}\n", strings.Join(lines, ",\n     "))
}

func rateFields(t tier) string {
	var out []string
	for _, kind := range pricing.Kinds() {
		if v, ok := t.rates[kind]; ok {
			out = append(out, fmt.Sprintf(`%s: "%s"`, kind, trim(v)))
		}
	}
	return strings.Join(out, ", ")
}

// picoPerMicro turns fees, which files hold in millionths of a dollar.
const picoPerMicro = 1_000_000

// trim shows millionths exactly, without zeros at the end.
func trim(micro int64) string {
	s := fmt.Sprintf("%d.%06d", micro/1_000_000, micro%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// plain writes text as YAML: bare where it can be nothing but text, else
// quoted as in JSON, which is YAML too.
func plain(s string) string {
	bare := s != "" && !strings.HasSuffix(s, " ")
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9') && !strings.ContainsRune("-_./ ", c)) {
			bare = false
		}
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		bare = false
	}
	if bare {
		return s
	}
	return quote(s)
}

// quote is a double-quoted YAML string; what is not printable becomes \u.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case c == '"' || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case strconv.IsPrint(c):
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = plain(s)
	}
	return out
}
