package pricing

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Fault is one thing wrong with what an operator wrote about models.
type Fault struct {
	InPrices     bool   // in the prices file; else in the overlay
	Line, Column int    // from 1
	Field        string // where that is, such as models[2].prices[0].input; empty: the file itself
	Message      string // what is wrong and the remedy

	node *yaml.Node
}

// Error names the line.
func (f *Fault) Error() string { return fmt.Sprintf("line %d: %s", f.Line, f.Message) }

// Faults is all that is wrong with a prices file or an overlay, in its order,
// never empty. An overlay is read only over a prices file that is right.
type Faults []*Fault

// Error renders one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		layer := "models"
		if f.InPrices {
			layer = "prices file"
		}
		lines[i] = "read " + layer + ": " + f.Error()
	}
	return strings.Join(lines, "\n")
}

// lineError is a fault at a place that an operator must look at.
func lineError(n *yaml.Node, format string, args ...any) error {
	return &Fault{Line: n.Line, Column: n.Column, Message: fmt.Errorf(format, args...).Error(), node: n}
}

// located collects the faults of a joined error and says where in the layer's
// document they are.
func located(err error, root *yaml.Node, at string, inPrices bool) error {
	faults := collect(err)
	if len(faults) == 0 {
		return err
	}
	fields := make(map[*yaml.Node]string)
	nameFields(fields, root, at)
	for _, f := range faults {
		f.InPrices, f.Field = inPrices, cmp.Or(fields[f.node], at)
	}
	slices.SortStableFunc(faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	// One price laid over several lists can be wrong in each.
	return slices.CompactFunc(faults, func(a, b *Fault) bool { return a.node == b.node && a.Message == b.Message })
}

func collect(err error) Faults {
	var one *Fault
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out Faults
		for _, e := range many.Unwrap() {
			out = append(out, collect(e)...)
		}
		return out
	}
	if errors.As(err, &one) {
		return Faults{one}
	}
	return nil
}

// nameFields notes the path of each node; a key has that of its value.
func nameFields(into map[*yaml.Node]string, n *yaml.Node, at string) {
	into[n] = at
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			path := strings.TrimPrefix(at+"."+clip(key.Value), ".")
			into[key] = path
			nameFields(into, n.Content[i+1], path)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			nameFields(into, item, at+"["+strconv.Itoa(i)+"]")
		}
	}
}
