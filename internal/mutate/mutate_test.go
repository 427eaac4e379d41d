package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var abacus = []target{{dir: "internal/mutate/testdata/abacus", files: []string{"abacus.go"}}}

// TestMutate runs the whole of it on a package made for it: what its tests do
// not notice is found, and nothing else.
func TestMutate(t *testing.T) {
	root := filepath.Dir(filepath.Dir(must(os.Getwd())(t)))
	known, err := parseSurvivors(string(must(os.ReadFile("testdata/abacus/survivors.txt"))(t)))
	if err != nil {
		t.Fatal(err)
	}
	// The list says too little, and too much.
	gone := "internal/mutate/testdata/abacus/abacus.go Gone: a => b"
	noticed := "internal/mutate/testdata/abacus/abacus.go Forever: rounds++ => nothing"
	unlisted := "internal/mutate/testdata/abacus/abacus.go check: total > 1000 => total >= 1000"
	if _, listed := known[unlisted]; !listed {
		t.Fatalf("%s is no survivor", unlisted)
	}
	delete(known, unlisted)
	known[gone], known[noticed] = "a reason", "a reason"
	var out bytes.Buffer
	err = mutateAll(t.Context(), root, abacus, known, options{}, &out)
	const text = "1 mutants survive: write tests that notice them, or list them with the reason in internal/mutate/survivors.txt"
	want := text + "\nsurvivors.txt lists what a test notices by now: " + noticed + "\nsurvivors.txt lists what no longer exists: " + gone
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s\n%s", err, want, out.String())
	}
	if !strings.Contains(out.String(), "SURVIVED "+unlisted+"\n") {
		t.Errorf("the survivor is not named:\n%s", out.String())
	}
}

// A busy machine neither notices a mutant nor lets one go: a test counts that
// passes without it, and fails with it again.
func TestConfirm(t *testing.T) {
	for name, tt := range map[string]struct {
		fails  string // of the shell: a condition on the number of the run, and on AIG_MUTANT
		killer string
		busy   bool
	}{
		"the mutant":       {`[ "$AIG_MUTANT" = 7 ]`, "TestX", false},
		"the machine once": {`[ $n = 1 ]`, "", false},
		"neither again":    {`false`, "", false},
		"the machine":      {`true`, "", true},
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\necho >>" + dir + "/runs\nn=$(wc -l <" + dir + "/runs)\nif " + tt.fails + "; then echo '--- FAIL: TestX (0.00s)'; exit 1; fi\n"
		b := &build{binary: filepath.Join(dir, "tests"), root: dir}
		if err := os.WriteFile(b.binary, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		w := worker{build: b, dir: filepath.Join(dir, "tmp")}
		killer, err := w.confirm(t.Context(), &mutant{id: 7}, []string{"TestX"}, 0)
		if killer != tt.killer || errors.Is(err, errBusy) != tt.busy || !tt.busy && err != nil {
			t.Errorf("%s: %q, %v", name, killer, err)
		}
	}
}

func TestSurvivorsText(t *testing.T) {
	got, err := parseSurvivors("# a comment\na f: x => y\nb g: x => y #2\n\ta reason\n\tof two lines\n\nc h: x => y\n\tanother\n")
	want := survivors{"a f: x => y": "a reason of two lines", "b g: x => y #2": "a reason of two lines", "c h: x => y": "another"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"a f: x => y\n", "\ta reason\n", "a: x => y\na: x => y\n\tr\n", "a: x => y\n\tr\na: x => y\n\tr\n"} {
		if _, err := parseSurvivors(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

// The committed list can be read, and names files that are mutated.
func TestCommittedSurvivors(t *testing.T) {
	known, err := parseSurvivors(survivorsText)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	root := filepath.Dir(filepath.Dir(must(os.Getwd())(t)))
	for _, tgt := range targets {
		for _, f := range must(tgt.expand(root))(t) {
			files[tgt.dir+"/"+f] = true
		}
	}
	for k := range known {
		if file, _, _ := strings.Cut(k, " "); !files[file] {
			t.Errorf("%s is in a file that is not mutated", k)
		}
	}
}

func TestLuaMutants(t *testing.T) {
	list, err := luaMutants("f.lua", "local function f(a)\n  -- a < b stays\n  if a < 3 and \"x < y\" then\n    a = 1\n  end\n  local t = {\n    b = false, -- not yet\n  }\n  return a\nend\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, m.key())
	}
	const line = `if a < 3 and "x < y" then`
	want := []string{
		"f.lua f: " + line + ` => if a <= 3 and "x < y" then`, "f.lua f: " + line + ` => if a >= 3 and "x < y" then`,
		"f.lua f: " + line + ` => if a < 4 and "x < y" then`, "f.lua f: " + line + ` => if a < 3 or "x < y" then`,
		"f.lua f: a = 1 => nothing", "f.lua f: a = 1 => a = 2", "f.lua f: b = false, -- not yet => b = true, -- not yet", "f.lua f: return a => nothing",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// must is what f returns; its error ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
