package adminapi

import (
	"fmt"
	"slices"
	"strings"

	"aigateway/budget"
)

// sees reports whether a key may see everything that p selects.
func sees(k *budget.Key, p budget.TagPattern) bool {
	return len(k.AllowedTags) == 0 || slices.ContainsFunc(k.AllowedTags, func(allowed budget.TagPattern) bool { return covers(allowed, p) })
}

// covers reports whether a selects every tag that p selects.
func covers(a, p budget.TagPattern) bool {
	if a == budget.AllTags || a == p {
		return true
	}
	root, ok := a.Subtree()
	if !ok || p == budget.AllTags {
		return false
	}
	sub, isTree := p.Subtree()
	if !isTree {
		return a.Matches(budget.Tag(p))
	}
	return sub == root || strings.HasPrefix(string(sub), string(root)+"/")
}

// selections are the disjoint patterns that together select what a key asked
// for: want, or without one everything the key may see.
func selections(k *budget.Key, want budget.TagPattern) ([]budget.TagPattern, error) {
	switch {
	case want != "" && !sees(k, want):
		return nil, tagNotAllowed(want)
	case want != "" || len(k.AllowedTags) == 0:
		return []budget.TagPattern{want}, nil
	}
	var out []budget.TagPattern
	for i, p := range k.AllowedTags {
		// Two patterns either nest or are disjoint, so dropping the inner ones
		// leaves no tag to be counted twice. Of equal ones the first stays.
		inner := slices.ContainsFunc(k.AllowedTags, func(q budget.TagPattern) bool { return q != p && covers(q, p) })
		if !inner && !slices.Contains(k.AllowedTags[:i], p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func tagNotAllowed(p budget.TagPattern) *budget.Error {
	return &budget.Error{
		Kind: budget.KindPermission, Reason: "tag_not_allowed", Field: "tag",
		Message: fmt.Sprintf("this key is limited to other tags than %q; ask an admin for a key that may use it", string(p)),
	}
}
