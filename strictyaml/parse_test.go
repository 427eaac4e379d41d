package strictyaml_test

import (
	"strings"
	"testing"

	"aigateway/strictyaml"
)

func TestParseNamesThePlace(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 10), ", ") + "]\n"
	}
	for _, tc := range []struct {
		text         string
		line, column int
		want         string
	}{
		{"a: 1\nb: \xff", 2, 4, "UTF-8"},
		{"a: 1\nb: \x01", 2, 4, "YAML syntax"},
		{"a: 1\n---\nb: 2\n", 2, 1, "second document"},
		{"a: {b: ${X}}\n", 1, 9, `"${NAME}"`},
		{"a: &a\n- *a\n", 2, 3, "contains itself"},
		{bomb, 1, 35, "too large"},
		{strings.Repeat("[", 102) + strings.Repeat("]", 102), 1, 102, "too deep"},
	} {
		root, faults := strictyaml.Parse([]byte(tc.text))
		if root != nil || len(faults) != 1 {
			t.Errorf("%.40q: %v, faults %v", tc.text, root, faults)
			continue
		}
		f := faults[0]
		if f.Line != tc.line || f.Column != tc.column || !strings.Contains(f.Message, tc.want) {
			t.Errorf("%.40q: %d:%d: %s, want %q at %d:%d", tc.text, f.Line, f.Column, f.Message, tc.want, tc.line, tc.column)
		}
	}
}

func TestPairsAreWhatAPersonMeant(t *testing.T) {
	root, faults := strictyaml.Parse([]byte("a: 1\n? [x]\n: 2\n<<: {c: 3}\na: 4\n'': 5\nb: *d\nd: &d 6\n"))
	if root != nil {
		t.Errorf("an alias before its anchor is taken: %v", faults)
	}
	root, faults = strictyaml.Parse([]byte("d: &d 6\na: 1\n? [x]\n: 2\n<<: {c: 3}\na: 4\n'': 5\nb: *d\n"))
	if faults != nil {
		t.Fatal(faults)
	}
	pairs, faults := strictyaml.Pairs(root)
	var got []string
	for _, p := range pairs {
		got = append(got, p.Key+"="+p.Value.Value)
	}
	if s := strings.Join(got, " "); s != "d=6 a=1 b=6" {
		t.Errorf("pairs: %s", s)
	}
	want := "line 3: a key must be a short plain word\nline 5: merge keys (<<) are not supported; write the fields out\nline 6: is given twice; remove one\nline 7: a key must be a short plain word"
	if faults.Error() != want || faults[2].Key != "a" {
		t.Errorf("faults:\n%s\nwant:\n%s", faults, want)
	}
}
