package pricing

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// A text is measured as its bytes are one after the other.
func TestAddJSONMeasuresEachByte(t *testing.T) {
	const some = "ab1eE\"\"\"\\\\{}[],: \n<>&'\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		raw := make([]byte, r.IntN(40))
		for i := range raw {
			raw[i] = some[r.IntN(len(some))]
		}
		var got, want rendering
		got.addJSON(raw)
		for _, c := range raw {
			want.add(c)
		}
		if got != want {
			t.Fatalf("addJSON(%q): %+v, want %+v", raw, got, want)
		}
	}
}

// A text in a JSON string is measured as its characters are one after the other.
func TestAddQuotedMeasuresEachCharacter(t *testing.T) {
	parts := []string{"a", "b1eE", `\"`, `\"`, `\"`, `\\`, `\/`, "{", "}", "[", "]", ",", ":", " ", "<", "&", "'", "é", "中", "😀"}
	plain := strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\/`, "/")
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var quoted string
		for range r.IntN(20) {
			quoted += parts[r.IntN(len(parts))]
		}
		var got, want rendering
		got.addQuoted([]byte(quoted))
		for _, c := range []byte(plain.Replace(quoted)) {
			want.add(c)
		}
		if got != want {
			t.Fatalf("addQuoted(%q): %+v, want %+v", quoted, got, want)
		}
	}
}
