package pricing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/strictyaml"
)

// readMap reads a mapping whose keys all have a reader; others are refused. Like
// the readers below it goes on after an error, to find them all.
func readMap(n *yaml.Node, what string, readers map[string]func(*yaml.Node) error) error {
	n = strictyaml.Deref(n)
	if n.Kind != yaml.MappingNode {
		return lineError(n, "%s must be a mapping of keys to values", what)
	}
	return readPairs(n, what, func(p strictyaml.Pair) error {
		read, ok := readers[p.Key]
		if !ok {
			return lineError(p.At, "unknown key %q in %s; known: %s", clip(p.Key), what, strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		}
		return read(p.Value)
	})
}

// readEntries reads a mapping with free keys, in order.
func readEntries(n *yaml.Node, what string, entry func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return lineError(n, "%s must be a mapping of names to values", what)
	}
	return readPairs(n, what, func(p strictyaml.Pair) error { return entry(p.Key, p.Value) })
}

func readPairs(n *yaml.Node, what string, read func(strictyaml.Pair) error) error {
	var errs []error
	pairs, faults := strictyaml.Pairs(n)
	for _, f := range faults {
		message := f.Message
		if f.Key != "" {
			message = fmt.Sprintf("key %q in %s %s", clip(f.Key), what, f.Message)
		}
		errs = append(errs, lineError(f.Node, "%s", message))
	}
	for _, p := range pairs {
		errs = append(errs, read(p))
	}
	return errors.Join(errs...)
}

func readList(n *yaml.Node, what string, item func(*yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return lineError(n, "%s must be a list", what)
	}
	var errs []error
	for _, c := range n.Content {
		errs = append(errs, item(strictyaml.Deref(c)))
	}
	return errors.Join(errs...)
}

func readString(into *string, what string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Value == "" || strictyaml.IsNull(n) {
			return lineError(n, "%s must be a text; write one", what)
		}
		*into = n.Value
		return nil
	}
}

// set wraps a reader for an optional field: it allocates the target.
func set[T any](into **T, read func(into *T) func(*yaml.Node) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		v := new(T)
		if err := read(v)(n); err != nil {
			return err
		}
		*into = v
		return nil
	}
}

func text(what string) func(*string) func(*yaml.Node) error {
	return func(s *string) func(*yaml.Node) error { return readString(s, what) }
}

// oneOf reads one of a few words.
func oneOf(what string, words ...string) func(*string) func(*yaml.Node) error {
	return func(into *string) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
				return lineError(n, "%s is %q; write %s", what, clip(n.Value), strings.Join(words, " or "))
			}
			*into = n.Value
			return nil
		}
	}
}

func count(what string) func(*int64) func(*yaml.Node) error {
	return func(into *int64) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			v, err := strconv.ParseInt(n.Value, 10, 64)
			if err != nil || n.Kind != yaml.ScalarNode || v < 0 || v > 1_000_000_000 {
				return lineError(n, "%s is %q; write a whole number of tokens from 0 to 1000000000", what, clip(n.Value))
			}
			*into = v
			return nil
		}
	}
}

func flag(what string) func(*bool) func(*yaml.Node) error {
	return func(into *bool) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
				return lineError(n, "%s is %q; write true or false", what, clip(n.Value))
			}
			*into = n.Value == "true"
			return nil
		}
	}
}

func decimal(n *yaml.Node, what string) (int64, error) {
	if n.Kind != yaml.ScalarNode || strictyaml.IsNull(n) {
		return 0, lineError(n, "%s must be a decimal number such as \"0.25\"", what)
	}
	v, err := microDecimal(n.Value)
	if err != nil {
		return 0, lineError(n, "%s: %w", what, err)
	}
	return v, nil
}

func multiplier(what string) func(*ratio) func(*yaml.Node) error {
	return func(into *ratio) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			v, err := decimal(n, what)
			if err != nil {
				return err
			}
			if v > 1000_000_000 {
				return lineError(n, "%s is above 1000; write at most that", what)
			}
			*into = newRatio(uint64(v), 1_000_000)
			return nil
		}
	}
}

func date(what string) func(*time.Time) func(*yaml.Node) error {
	return func(into *time.Time) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			t, err := time.Parse(time.DateOnly, n.Value)
			if err != nil || n.Kind != yaml.ScalarNode {
				return lineError(n, "%s is %q; write a date as YYYY-MM-DD", what, clip(n.Value))
			}
			*into = t
			return nil
		}
	}
}

// clock reads "HH:MM" as minutes of a UTC day; "24:00" is its end.
func clock(what string, into *int) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		h, m, ok := strings.Cut(n.Value, ":")
		hour, herr := strconv.Atoi(h)
		minute, merr := strconv.Atoi(m)
		total := hour*60 + minute
		if !ok || len(h) != 2 || len(m) != 2 || herr != nil || merr != nil || hour < 0 || minute < 0 || minute > 59 || total > 24*60 {
			return lineError(n, "%s is %q; write a UTC time as HH:MM", what, clip(n.Value))
		}
		*into = total
		return nil
	}
}
