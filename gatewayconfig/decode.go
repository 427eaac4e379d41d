package gatewayconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/strictyaml"
)

// place is a position in the file, from 1.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// byteSize is a number of bytes, written as 8388608 or 8MiB.
type byteSize int64

// secretText is a string that may hold ${VAR} or file:PATH. It is resolved
// after decoding; other strings refuse ${, which would silently stay as it is.
type secretText string

// decoder fills structs from YAML nodes. It does not use the library's own
// struct decoding, because that gives neither a column nor a suggestion, and
// stops remembering where a value stood, which validation needs.
type decoder struct {
	*report
	places map[string]place // dotted field path -> where its value stands
	// broken are the fields that did not decode. What else may be wrong with one,
	// or with what it holds, follows from that and is not told.
	broken []string
}

// at returns where the field stands, or its nearest enclosing field.
func (d *decoder) at(field string) place {
	for {
		if p, ok := d.places[field]; ok {
			return p
		}
		i := strings.LastIndexByte(field, '.')
		if i < 0 {
			return place{1, 1}
		}
		field = field[:i]
	}
}

// fail adds a problem at a field's place.
func (d *decoder) fail(field, format string, args ...any) {
	for _, b := range d.broken {
		if b == "" || b == field || strings.HasPrefix(field, b+".") {
			return
		}
	}
	d.add(d.at(field), field, format, args...)
}

func (d *decoder) decode(n *yaml.Node, field string, out reflect.Value) {
	n = strictyaml.Deref(n)
	d.places[field] = placeOf(n)
	if v, ok := out.Addr().Interface().(**yaml.Node); ok {
		*v = n
		return
	}
	if strictyaml.IsNull(n) {
		return // "providers: {openai: }" means all defaults
	}
	switch v := out.Addr().Interface().(type) {
	case *time.Duration:
		d.duration(n, field, v)
		return
	case *byteSize:
		d.byteSize(n, field, v)
		return
	}
	switch out.Kind() {
	case reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.decode(n, field, out.Elem())
	case reflect.Struct:
		d.structure(n, field, out)
	case reflect.Map:
		d.mapping(n, field, out)
	case reflect.Slice:
		d.list(n, field, out)
	default:
		d.scalar(n, field, out)
	}
}

// pairs calls f for each key of a mapping, and refuses other nodes and keys.
func (d *decoder) pairs(n *yaml.Node, field string, f func(p strictyaml.Pair)) {
	if n.Kind != yaml.MappingNode {
		d.fail(field, "is %s; write a mapping (key: value)", kindName(n))
		return
	}
	pairs, faults := strictyaml.Pairs(n)
	for _, fault := range faults {
		at := field
		if fault.Key != "" {
			at = join(field, fault.Key)
		}
		d.add(place{fault.Line, fault.Column}, at, "%s", fault.Message)
	}
	for _, p := range pairs {
		f(p)
	}
}

func (d *decoder) structure(n *yaml.Node, field string, out reflect.Value) {
	d.pairs(n, field, func(p strictyaml.Pair) {
		i := slices.Index(fieldNames(out.Type()), p.Key)
		if i < 0 {
			d.add(placeOf(p.At), join(field, p.Key), "unknown key%s", suggest(p.Key, fieldNames(out.Type())))
			return
		}
		d.decode(p.Value, join(field, p.Key), out.Field(i))
	})
}

// fieldNames lists a struct's YAML keys in field order. Every field of the
// file's structs carries a tag.
func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

func (d *decoder) mapping(n *yaml.Node, field string, out reflect.Value) {
	out.Set(reflect.MakeMap(out.Type()))
	d.pairs(n, field, func(p strictyaml.Pair) {
		element := reflect.New(out.Type().Elem()).Elem()
		d.decode(p.Value, join(field, p.Key), element)
		out.SetMapIndex(reflect.ValueOf(p.Key), element)
	})
}

func (d *decoder) list(n *yaml.Node, field string, out reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(field, "is %s; write a list, as in [a, b]", kindName(n))
		return
	}
	list := reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.decode(item, field+"["+strconv.Itoa(i)+"]", list.Index(i))
	}
	out.Set(list)
}

func (d *decoder) scalar(n *yaml.Node, field string, out reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.fail(field, "is %s; write %s", kindName(n), wanted(out.Kind()))
		return
	}
	switch out.Kind() {
	case reflect.String:
		// Numbers and words such as "on" are taken as written: a key that
		// happens to be digits needs no quotes.
		if out.Type() != reflect.TypeFor[secretText]() && strings.Contains(n.Value, "${") {
			d.fail(field, "holds ${; variables are replaced only in keys, secrets and ids, and in the values of headers")
			return
		}
		out.SetString(n.Value)
	case reflect.Bool:
		if n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
			d.fail(field, "is %s; write true or false", quoted(n))
			return
		}
		out.SetBool(n.Value == "true")
	case reflect.Int64:
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			d.fail(field, "is %s; write a whole number", quoted(n))
			return
		}
		out.SetInt(v)
	default:
		d.fail(field, "cannot be set from a file")
	}
}

func (d *decoder) duration(n *yaml.Node, field string, out *time.Duration) {
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fail(field, "is %s; write a duration with its unit, such as 90s, 10m or 1h30m", quoted(n))
		return
	}
	*out = v
}

func (d *decoder) byteSize(n *yaml.Node, field string, out *byteSize) {
	number, unit := n.Value, int64(1)
	for suffix, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), size
			break
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 || v > 1<<40 {
		d.fail(field, "is %s; write a number of bytes, or such as 512KiB or 8MiB", quoted(n))
		return
	}
	*out = byteSize(v * unit)
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a whole number"
	}
	return "plain text"
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if strictyaml.IsNull(n) {
			return "empty"
		}
		return "plain text"
	}
	return "not a value"
}

// quoted shows a scalar in a message, cut short. It is never called for a
// field that may hold a secret.
func quoted(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return kindName(n)
	}
	return shown(n.Value)
}

func shown(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}
