package adminapi_test

import (
	"testing"

	"pgregory.net/rapid"

	"aigateway/adminapi"
	"aigateway/budget"
	_ "aigateway/internal/rapidtest"
)

func tags() *rapid.Generator[budget.Tag] {
	return rapid.Map(rapid.StringMatching(`[ab](/[ab]){0,3}`), func(s string) budget.Tag { return budget.Tag(s) })
}

func patterns() *rapid.Generator[budget.TagPattern] {
	return rapid.Custom(func(t *rapid.T) budget.TagPattern {
		switch tag := budget.TagPattern(tags().Draw(t, "tag")); rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return budget.AllTags
		case 1, 2, 3:
			return tag + "/**"
		default:
			return tag
		}
	})
}

// TestSelectionsPartition: each tag that a key may use is selected exactly once
// by what its reports query, and no other tag is.
func TestSelectionsPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := &budget.Key{AllowedTags: rapid.SliceOfN(patterns(), 1, 5).Draw(t, "allowed")}
		parts, err := adminapi.Selections(key, "")
		if err != nil {
			t.Fatal(err)
		}
		tag := tags().Draw(t, "tag")
		hits := 0
		for _, p := range parts {
			if p.Matches(tag) {
				hits++
			}
		}
		if want := key.MayUseTag(tag); hits > 1 || (hits == 1) != want {
			t.Fatalf("allowed %q, parts %q: tag %q is selected %d times, may use: %v", key.AllowedTags, parts, tag, hits, want)
		}
	})
}

// TestCoversMeansEveryTag: a pattern covers another only if it selects all that
// the other selects.
func TestCoversMeansEveryTag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, p, tag := patterns().Draw(t, "a"), patterns().Draw(t, "p"), tags().Draw(t, "tag")
		if adminapi.Covers(a, p) && p.Matches(tag) && !a.Matches(tag) {
			t.Fatalf("%q covers %q, but not its tag %q", a, p, tag)
		}
	})
}
