// Package recordedtest reads recorded answers of providers as the data plane
// does. The tests of package pricing settle by that reading, and those of
// package envoy hold the Lua filter to it.
package recordedtest

import (
	"encoding/json"
	"slices"
	"strings"
)

// events are the data of each server-sent event of an answer.
func events(answer string) []string {
	var texts []string
	for event := range strings.SplitSeq(answer, "\n\n") {
		var data []string
		for line := range strings.SplitSeq(event, "\n") {
			if v, ok := strings.CutPrefix(line, "data:"); ok {
				data = append(data, strings.TrimPrefix(v, " "))
			}
		}
		texts = append(texts, strings.Join(data, "\n"))
	}
	return texts
}

// reported are the raw values of a JSON text that the data plane looks for, by
// name: at the top, or inside message, response or delta, which win. A meta with
// billed units is the usage where there is no other. Nulls are left out; a text
// that is no object has none.
func reported(text string) map[string]string {
	top := members(text)
	if top == nil {
		return nil
	}
	found := make(map[string]string)
	take := func(from map[string]json.RawMessage, names ...string) {
		for _, k := range names {
			if v := string(from[k]); v != "" && v != "null" {
				found[k] = v
			}
		}
	}
	take(top, "usage", "model", "service_tier", "tool_usage", "type")
	for _, parent := range []string{"message", "response", "delta"} {
		var inner map[string]json.RawMessage
		if json.Unmarshal(top[parent], &inner) == nil {
			take(inner, "usage", "model", "service_tier", "tool_usage")
		}
	}
	if meta := string(top["meta"]); found["usage"] == "" && strings.Contains(meta, `"billed_units"`) {
		found["usage"] = meta
	}
	return found
}

// terminal reports whether an event of this type, in quotes, ends an answer.
func terminal(kind string) bool {
	return slices.Contains([]string{`"response.completed"`, `"response.incomplete"`, `"response.failed"`, `"message_stop"`,
		`"image_generation.completed"`, `"image_edit.completed"`, `"speech.audio.done"`, `"transcript.text.done"`}, kind)
}

// members are those of an object, as far as it goes where it is cut; nil for any
// other text.
func members(text string) map[string]json.RawMessage {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	top := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			break
		}
		if name, ok := name.(string); ok {
			top[name] = v
		}
	}
	return top
}
