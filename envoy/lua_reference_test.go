package envoy_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

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

type refDoc struct {
	found                map[string]string
	first                string
	usages               []string // "" for one too long
	usageOnTop, noChoice bool
}

var refEmptyArray = regexp.MustCompile(`^\[\s*\]$`)

func refRead(doc string) refDoc {
	d := refDoc{found: map[string]string{}}
	for _, m := range refMembers(doc) {
		switch m.key {
		case "usage", "model", "service_tier", "tool_usage", "type", "meta":
			d.take(m, true)
		case "choices":
			d.noChoice = refEmptyArray.MatchString(strings.TrimSpace(m.slot))
		case "message", "response", "delta":
			for _, in := range refMembers(m.slot) {
				switch in.key {
				case "usage", "model", "service_tier", "tool_usage":
					d.take(in, false)
				}
			}
		}
	}
	return d
}

func (d *refDoc) take(m refMember, top bool) {
	v := strings.TrimSpace(m.slot)
	long := len(m.slot) > envoy.MaxCapture
	switch {
	case m.key == "type" && d.found["type"] != "": // the first counts: often nothing behind it is read
	case m.key == "usage" && long:
		d.usages = append(d.usages, "")
		d.found["usage"] = ""
	case long:
		delete(d.found, m.key)
	case v == "null" || m.key == "usage" && v[0] != '{':
	default:
		if m.key == "usage" {
			d.usages = append(d.usages, v)
			d.usageOnTop = top
			if d.first == "" {
				d.first = v
			}
		}
		d.found[m.key] = v
	}
}

type refState struct {
	report map[string]any
	first  string
}

func (st *refState) usage(d refDoc) {
	if st.first == "" {
		st.first = d.first
	}
	for k, v := range d.found {
		if k != "meta" {
			st.report[k] = v
		}
	}
	for _, u := range d.usages {
		if u != "" && u != st.first {
			st.report["first_usage"] = st.first
		}
	}
}

func refJSON(body string) map[string]any {
	st := refState{report: map[string]any{}}
	d := refRead(body)
	if _, ok := d.found["usage"]; !ok && strings.Contains(d.found["meta"], `"billed_units"`) {
		d.found["usage"], d.usages, d.first = d.found["meta"], []string{d.found["meta"]}, d.found["meta"]
	}
	st.usage(d)
	if i := refSpace(body, 0); i < len(body) && (body[i] == '{' || body[i] == '[') {
		st.report["done"] = true
	}
	return normal(st.report)
}

// refStream returns what the client gets of a stream and what is reported; ok
// is false when some event's data is neither JSON nor [DONE], where the
// reference has no opinion.
func refStream(body string, strip bool) (out string, report map[string]any, ok bool) {
	st, ok := refState{report: map[string]any{}}, true
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
	if size > envoy.MaxEvent {
		if _, told := st.report["usage"]; told {
			st.report["usage"] = ""
		}
		return false, true
	}
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
	if strings.HasPrefix(doc, "[DONE]") && strings.TrimSpace(doc) == "[DONE]" {
		st.report["done"] = true
		return false, true
	}
	if !json.Valid([]byte(doc)) {
		return false, !bytes.ContainsAny([]byte(doc), `"[`)
	}
	d := refRead(doc)
	if d.usages != nil {
		st.usage(d)
	} else if d.found["type"] != "" {
		st.report["type"] = d.found["type"]
	}
	switch d.found["type"] {
	case `"response.completed"`, `"response.incomplete"`, `"response.failed"`, `"message_stop"`:
		st.report["done"] = true
	}
	return strip && d.noChoice && d.usageOnTop && d.found["usage"] != "", true
}
