package strictyaml

import "go.yaml.in/yaml/v4"

// Deref follows aliases and steps into a document; nil stays nil.
func Deref(n *yaml.Node) *yaml.Node {
	for n != nil {
		switch {
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
			n = n.Content[0]
		default:
			return n
		}
	}
	return n
}

// IsNull reports whether a node, or the lack of one, says nothing: "key:" alone.
func IsNull(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// Pair is one key of a mapping.
type Pair struct {
	Key   string     // at most 200 bytes, not empty
	At    *yaml.Node // the key's own
	Value *yaml.Node // without aliases
}

// Pairs are the keys of a mapping node, in order, and what is wrong with the
// others: each key is a plain word, stands once and merges nothing.
func Pairs(n *yaml.Node) ([]Pair, Faults) {
	pairs := make([]Pair, 0, len(n.Content)/2)
	var faults Faults
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			faults = append(faults, at(k, "", "merge keys (<<) are not supported; write the fields out"))
		case k.Kind != yaml.ScalarNode || k.Value == "" || len(k.Value) > 200:
			faults = append(faults, at(k, "", "a key must be a short plain word"))
		case seen[k.Value]:
			faults = append(faults, at(k, k.Value, "is given twice; remove one"))
		default:
			seen[k.Value] = true
			pairs = append(pairs, Pair{k.Value, k, Deref(n.Content[i+1])})
		}
	}
	return pairs, faults
}
