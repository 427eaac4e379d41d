package envoy_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"aigateway/envoy"
)

// This is a second, slow implementation of the filter's response path, written
// from its rules and sharing no technique with it: whole bodies, recursive
// descent, no gates. It presumes that event data and bodies are valid JSON.

// refMember is one member of a JSON object, in raw text. slot is everything
// between the colon and the next comma or brace.
type refMember struct{ key, slot string }

// refSkip returns the index behind the JSON value or white space at i.
func refSkip(s string, i int) int {
	for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
		i++
	}
	if i >= len(s) {
		return i
	}
	switch s[i] {
	case '"':
		for i++; s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
		}
		return i + 1
	case '{', '[':
		for i++; ; i++ {
			i = refSpace(s, i)
			if s[i] == '}' || s[i] == ']' {
				return i + 1
			}
			if s[i] == ',' || s[i] == ':' {
				continue
			}
			i = refSkip(s, i) - 1
		}
	}
	for i < len(s) && strings.IndexByte(",]} \t\r\n:", s[i]) < 0 {
		i++
	}
	return i
}

func refSpace(s string, i int) int {
	for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
		i++
	}
	return i
}

// refMembers lists the members of a valid JSON object; nil for other values.
func refMembers(s string) []refMember {
	i := refSpace(s, 0)
	if i >= len(s) || s[i] != '{' {
		return nil
	}
	var out []refMember
	for i++; ; i++ {
		i = refSpace(s, i)
		if s[i] == '}' {
			return out
		}
		end := refSkip(s, i)
		key := s[i+1 : end-1]
		colon := refSpace(s, end)
		next := refSpace(s, refSkip(s, colon+1))
		out = append(out, refMember{key, s[colon+1 : next]})
		if i = next; s[i] == '}' {
			return out
		}
	}
}

// refUsage is one usage object: empty when it is too long to be reported.
type refUsage struct {
	text string
	top  bool
}

// refDoc is what one JSON text says.
type refDoc struct {
	found   map[string]string
	metas   bool // there are several with units
	usages  []refUsage
	top     bool // the last usage object stood at the top
	choices string
	ends    []float64
	nth     int // objects among the choices
	stopped bool
	output  bool
	known   bool // where output would be
	chunks  bool // of a stream
	failed  bool // it tells of an error
	id      string
	inner   bool // id was found inside
	items   []string
	unknown bool // a usage object is so long that this has no opinion
}

var refEmpty = regexp.MustCompile(`^[\[{]\s*[\]}]$`)

// refElements lists the elements of a valid JSON array; nil for other values.
func refElements(s string) (out []string) {
	i := refSpace(s, 0)
	if i >= len(s) || s[i] != '[' {
		return nil
	}
	for i++; ; i++ {
		i = refSpace(s, i)
		if s[i] == ']' {
			return out
		}
		end := refSkip(s, i)
		out = append(out, s[i:end])
		if i = refSpace(s, end); s[i] == ']' {
			return out
		}
	}
}

func refRead(doc string) refDoc {
	d := refDoc{found: map[string]string{}}
	for _, m := range refMembers(doc) {
		switch m.key {
		case "usage", "model", "service_tier", "tool_usage", "type", "meta":
			d.take(m, true)
		case "id":
			if v, ok := refPlain(m.slot); ok && d.id == "" {
				d.id = v
			}
		case "error":
			d.known = true
			d.failed = !slices.Contains([]string{"null", "false", `""`, "{}"}, strings.TrimSpace(m.slot))
		case "text", "output_text", "completion", "embedding", "embeddings", "b64_json":
			d.known = true
			v := strings.TrimSpace(m.slot)
			d.output = d.output || len(m.slot) > envoy.MaxCapture || strings.Contains(`"[`, v[:1]) && v != `""` && v != "[]"
		case "choices":
			d.known = true
			d.readChoices(m.slot)
		case "output", "content", "data", "results":
			d.known = true
			for _, e := range refElements(m.slot) {
				d.output = d.output || e[0] == '{' || e[0] == '['
				if m.key == "output" {
					d.item(e)
				}
			}
		case "item":
			d.item(m.slot)
		case "message", "response", "delta":
			d.readInner(m)
		}
	}
	return d
}

func (d *refDoc) readInner(parent refMember) {
	for _, in := range refMembers(parent.slot) {
		switch in.key {
		case "usage", "model", "service_tier", "tool_usage":
			d.take(in, false)
		case "id":
			if v, ok := refPlain(in.slot); ok && parent.key != "delta" {
				d.id, d.inner = v, true
			}
		case "stop_reason":
			d.stopped = d.stopped || parent.key == "delta" && refReason(in.slot)
		case "content", "output_text":
			d.output = d.output || in.key == map[string]string{"message": "content", "response": "output_text"}[parent.key] && refText(in.slot)
		case "output":
			if parent.key == "response" {
				for _, e := range refElements(in.slot) {
					d.output = d.output || e[0] == '{' || e[0] == '['
					d.item(e)
				}
			}
		}
	}
}

func (d *refDoc) item(text string) {
	for _, m := range refMembers(text) {
		if v, ok := refPlain(m.slot); m.key == "id" && ok && !slices.Contains(d.items, v) {
			d.items = append(d.items, v)
		}
	}
}

func (d *refDoc) readChoices(slot string) {
	list := refElements(slot)
	if strings.HasPrefix(strings.TrimSpace(slot), "[") && d.choices == "" {
		d.choices = "empty"
	}
	nth := -1.0
	for i, e := range list {
		d.choices = "full"
		if e[0] != '{' {
			d.output = d.output || i == 0 && e[0] != '['
			continue
		}
		nth++
		d.nth++
		index, finished := nth, false
		for _, m := range refMembers(e) {
			switch m.key {
			case "index":
				if v := strings.TrimSpace(m.slot); v != "null" {
					if n, err := strconv.ParseFloat(v, 64); err == nil && len(m.slot) <= 16 {
						index = n
					} else {
						index = nth
					}
				}
			case "finish_reason":
				finished = finished || refReason(m.slot)
			case "text":
				d.output = d.output || refText(m.slot)
			case "delta", "message":
				d.chunks = d.chunks || m.key == "delta" && strings.HasPrefix(strings.TrimSpace(m.slot), "{")
				for _, in := range refMembers(m.slot) {
					d.output = d.output || in.key != "role" && refText(in.slot)
				}
			}
		}
		if finished {
			d.ends = append(d.ends, index)
		}
	}
}

// refPlain is the text of a string without escapes that is short enough for an id.
func refPlain(slot string) (string, bool) {
	v := strings.TrimSpace(slot)
	return strings.Trim(v, `"`), len(slot) <= 130 && len(v) > 2 && v[0] == '"' && !strings.Contains(v, `\`)
}

func refReason(slot string) bool {
	v := strings.TrimSpace(slot)
	return len(slot) <= 256 && len(v) > 2 && v[0] == '"' && v != `"null"` && !strings.Contains(v, `\`)
}

func refText(slot string) bool {
	v := strings.TrimSpace(slot)
	return len(slot) > 64 || strings.Contains(`"[{`, v[:1]) && v != `""` && !refEmpty.MatchString(v)
}

func (d *refDoc) take(m refMember, top bool) {
	v := strings.TrimSpace(m.slot)
	switch {
	case m.key == "type" && d.found["type"] != "": // the first counts: often nothing behind it is read
	case m.key == "usage" && len(m.slot) > envoy.MaxUsage:
		d.unknown = true
	case m.key != "usage" && len(m.slot) > envoy.MaxCapture:
		d.unknown = d.unknown || m.key == "meta"
		delete(d.found, m.key)
	case v == "null" || v == `""` || m.key == "usage" && v[0] != '{':
	case m.key == "usage":
		d.top = top
		if !refEmpty.MatchString(v) {
			d.usages = append(d.usages, refUsage{v, top})
		}
	case m.key == "meta" && !strings.Contains(v, `"billed_units"`):
	case m.key == "meta" && d.found["meta"] != "": // each is a report
		d.metas = true
		d.usages = append(d.usages, refUsage{d.found["meta"], true})
		d.found["meta"] = v
	default:
		d.found[m.key] = v
	}
}

// refState is a report in the making.
type refState struct {
	report         map[string]any
	early          map[string]string // said before reports
	last, first    string
	others         []string
	items          []string
	finished       map[float64]bool
	ended, late    bool
	over           bool // a terminal event had the last report
	summed         bool // it came by itself behind output
	watch, settled bool // as the filter: whether it looks at every event
}

func newRefState() *refState {
	return &refState{report: map[string]any{}, early: map[string]string{}, finished: map[float64]bool{}, watch: true}
}

func (st *refState) usage(d refDoc) {
	for _, u := range d.usages {
		if st.last != "" && st.last != u.text && st.last != st.first && !slices.Contains(st.others, st.last) && !refGrows(st.last, u.text) {
			if len(st.others) < 16 {
				st.others = append(st.others, st.last)
			} else {
				st.report["many"] = true
			}
		}
		st.last = u.text
		if st.first == "" {
			st.first = u.text
		}
	}
	st.report["usage"], st.report["first_usage"] = st.last, st.first
	st.report["others"] = strings.Join(st.others, " ")
	st.beside(d)
}

func (st *refState) beside(d refDoc) {
	for _, k := range []string{"model", "service_tier", "tool_usage"} {
		if v := d.found[k]; v != "" {
			st.report[k] = v
		}
	}
}

func (st *refState) ids(d refDoc) {
	if d.id != "" && (d.inner || st.report["id"] == nil) {
		st.report["id"] = d.id
	}
	for _, id := range d.items {
		if !slices.Contains(st.items, id) && len(st.items) < 64 {
			st.items = append(st.items, id)
		}
	}
	st.report["items"] = strings.Join(st.items, " ")
}

var refNumber = regexp.MustCompile(`[0-9][0-9.eE+-]*`)

// refGrows reports whether b is a with other numbers, none of which is smaller,
// and none of which counts what was cached.
func refGrows(a, b string) bool {
	x, y := refNumber.FindAllStringIndex(a, -1), refNumber.FindAllStringIndex(b, -1)
	if len(x) != len(y) || refNumber.ReplaceAllString(a, "0") != refNumber.ReplaceAllString(b, "0") {
		return false
	}
	from := 0
	for i := range x {
		m, n, name := a[x[i][0]:x[i][1]], b[y[i][0]:y[i][1]], a[from:x[i][0]]
		from = x[i][1]
		v, err := strconv.ParseFloat(m, 64)
		w, err2 := strconv.ParseFloat(n, 64)
		if m != n && (err != nil || err2 != nil || v > w || strings.Contains(name, "cach") || strings.Contains(name, "hit")) {
			return false
		}
	}
	return true
}

func refJSON(body string) map[string]any {
	st := newRefState()
	d := refRead(body)
	if meta := d.found["meta"]; meta != "" && (d.usages == nil || d.metas) {
		d.usages = append(d.usages, refUsage{meta, true})
	}
	if d.unknown {
		return nil
	}
	if d.usages != nil {
		st.usage(d)
	}
	st.beside(d)
	st.ids(d)
	if i := refSpace(body, 0); i < len(body) && (body[i] == '{' || body[i] == '[') {
		st.report["framing"] = "json"
		st.end(d)
	} else if i < len(body) && body[i] >= 'a' && body[i] <= 'z' {
		st.report["framing"] = "events"
	} else if i < len(body) {
		st.report["unread"] = true
	}
	return normal(st.report)
}

var refPart = regexp.MustCompile(`^"(message_|response\.|content_block)`)

// end notes the end of a document.
func (st *refState) end(d refDoc) {
	if d.output || !d.known {
		st.report["output"] = true
	}
	kind := d.found["type"]
	if !d.chunks && !refPart.MatchString(kind) || slices.Contains([]string{`"response.completed"`, `"response.incomplete"`, `"response.failed"`, `"message_stop"`}, kind) {
		st.report["done"] = true
		return
	}
	for _, i := range d.ends {
		st.finished[i] = true
	}
	if d.stopped && len(d.ends) == 0 {
		st.finished[0] = true
	}
	if len(st.finished) > 0 {
		st.report["finished"] = len(st.finished)
	}
}

// refStream returns what the client gets of a stream and what is reported; ok
// is false when some event's data is neither JSON nor [DONE], where the
// reference has no opinion.
func refStream(body string, strip bool) (out string, report map[string]any, ok bool) {
	st, ok := newRefState(), refLoggable(body) && !strings.HasPrefix(body, "x") && !strings.HasPrefix(body, "\x1f") // as what is packed begins
	if rest := strings.TrimLeft(body, " \t\r\n"); rest != "" {
		st.report["framing"] = "events"
		ok = ok && strings.IndexAny(rest[:1], ":abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == 0 && !strings.ContainsAny(body, "\xef\xbb\xbf")
	}
	for i := 0; i < len(body); {
		from := i
		if body[i] == '\r' || body[i] == '\n' || body[i] == ':' {
			i = refLine(body, i)
			out += body[from:i]
			continue
		}
		var lines []string
		for {
			end := i + strings.IndexAny(body[i:]+"\n", "\r\n")
			lines = append(lines, body[i:end])
			i = refLine(body, i)
			if lines[len(lines)-1] == "" || i == len(body) {
				break
			}
		}
		size := i - from
		if strings.HasSuffix(body[from:i], "\r\n") && lines[len(lines)-1] == "" {
			size-- // an LF after the final CR does not count
		}
		drop, known := st.event(lines, size, strip)
		ok = ok && known
		if !drop {
			out += body[from:i]
		}
	}
	return out, normal(st.report), ok
}

// refLoggable reports whether what is told of s stands in it as it is: see loggable.
func refLoggable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// refLine returns the index behind the line, and its end, that begins at i.
func refLine(s string, i int) int {
	end := strings.IndexAny(s[i:], "\r\n")
	if end < 0 {
		return len(s)
	}
	end += i
	if strings.HasPrefix(s[end:], "\r\n") {
		return end + 2
	}
	return end + 1
}

func (st *refState) event(lines []string, size int, strip bool) (drop, known bool) {
	var data []string
	for _, l := range lines {
		if name, value, _ := strings.Cut(l, ":"); name == "data" {
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	if data == nil {
		return false, true
	}
	doc := strings.Join(data, "\n")
	switch {
	case strings.HasPrefix(doc, "[DONE]") && strings.TrimSpace(doc) == "[DONE]":
		st.ended = true
		st.settle()
		return false, size <= envoy.MaxEvent
	case !json.Valid([]byte(doc)):
		return false, !bytes.ContainsAny([]byte(doc), `"[`)
	}
	d := refRead(doc)
	if m := refOnlyDelta.FindString(doc); m != "" && !strings.HasSuffix(m, `"message_delta"`) && !refMentionsUsage.MatchString(doc) {
		d = refDoc{found: map[string]string{"type": d.found["type"]}, output: true}
	}
	if !st.looks(doc) {
		return false, !d.unknown
	}
	return st.conclude(d) && strip && size <= envoy.MaxEvent, !d.unknown
}

var (
	refOnlyDelta     = regexp.MustCompile(`^\{"type": ?"[\w.]*delta"`)
	refMentionsUsage = regexp.MustCompile(`"usage"[ \t]*(:[ \t]*[{\n]|\n)`)
	refMentionsEnd   = regexp.MustCompile(`"finish_reason"[ \t]*([^ \t:]|:[ \t]*[^ \tn]|$)`)
)

// looks reports whether the filter reads an event: it need not, where nothing in
// it can matter.
func (st *refState) looks(doc string) bool {
	return st.watch || refMentionsUsage.MatchString(doc) || strings.Contains(doc, `"type"`) ||
		strings.Contains(doc, "[DONE]") || refMentionsEnd.MatchString(doc)
}

func (st *refState) settle() {
	st.report["done"] = true
	if !st.ended || st.late {
		delete(st.report, "done")
	}
	st.watch = st.report["output"] == nil || st.last != "" && !st.settled
}

func (st *refState) conclude(d refDoc) (drop bool) {
	kind := strings.Trim(d.found["type"], `"`)
	if k := d.found["type"]; k != "" && k[0] != '"' {
		kind = "?"
	}
	output := d.output || strings.Contains(kind, "delta") && kind != "message_delta" || strings.Contains(kind, "content_block_start") || strings.Contains(kind, "output_item")
	for _, i := range d.ends {
		st.finished[i] = true
	}
	if d.stopped && kind == "message_delta" {
		st.finished[0] = true
	}
	if d.usages == nil && st.last == "" {
		maps.Copy(st.early, d.found)
	} else if d.usages == nil {
		st.beside(d)
	}
	begun := st.report["output"] != nil
	if output {
		st.report["output"] = true
	}
	delta := d.found["type"] == `"message_delta"`
	switch {
	case d.usages != nil:
		st.summed = begun && !output && d.choices != "full" && (delta || d.found["type"] == "")
		st.beside(refDoc{found: st.early})
		st.early = nil
		st.usage(d)
		st.late, st.settled, st.over = false, false, refEnds(kind)
		if delete(st.report, "finished"); len(st.finished) > 0 {
			st.report["finished"] = len(st.finished)
		}
	case st.last == "":
	case output:
		delete(st.report, "finished")
		st.late, st.settled = true, true
	case d.failed:
		st.late = true
	case st.summed && (delta && d.stopped || d.found["type"] == "" && d.nth > 0 && len(d.ends) == d.nth): // the end alone
	case d.choices == "full", kind == "error", kind != "" && kind != "ping" && kind != "message_stop" && !st.over:
		st.late = true
	}
	st.ids(d)
	st.ended = st.ended || refEnds(kind)
	st.settle()
	return d.choices == "empty" && d.top
}

// refEnds reports whether an event of this type ends an answer.
func refEnds(kind string) bool {
	return slices.Contains([]string{"response.completed", "response.incomplete", "response.failed", "message_stop"}, kind)
}
