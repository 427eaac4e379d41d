package envoy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/envoy"
	"aigateway/internal/recordedtest"
)

// recorded is one answer of a provider that pricing settles in its tests.
type recorded struct{ name, status, contentType, answer string }

func (r *recorded) streams() bool { return r.contentType == "text/event-stream" }

func recordedAnswers(t *testing.T) []recorded {
	t.Helper()
	files, err := filepath.Glob("../pricing/testdata/settle/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for chunk := range strings.SplitSeq("\n"+string(text), "\n=== ") {
			name, rest, _ := strings.Cut(chunk, "\n")
			_, rest, ok := strings.Cut(rest, "\nHTTP ")
			if !ok {
				continue // before the first
			}
			line, rest, _ := strings.Cut(rest, "\n")
			fields := strings.Fields(line)
			answer, _, ok := strings.Cut("\n"+rest, "\nWANT ")
			if !ok || len(fields) < 2 {
				t.Fatalf("%s: %s cannot be read", file, name)
			}
			all = append(all, recorded{filepath.Base(file) + ": " + name, fields[0], fields[1], strings.TrimPrefix(answer, "\n")})
		}
	}
	if len(all) < 200 {
		t.Fatalf("only %d answers", len(all))
	}
	return all
}

// reading is what the filter is to report of a recorded answer that is settled
// in pricing's tests.
func (r *recorded) reading() map[string]any {
	got := recordedtest.Read(r.answer, r.streams(), r.status >= "400")
	return money(asMap(envoy.Report{
		Usage: got.Usage, FirstUsage: got.FirstUsage, Model: got.Model, ServiceTier: got.ServiceTier, ToolUsage: got.ToolUsage,
		Done: got.Done, Finished: got.Finished, Output: got.Output,
	}))
}

// The evidence that recorded answers are settled by in pricing's tests is what
// the filter reports of them, in one piece and cut anywhere.
func TestRecordedAnswersAreReadAsTheyAreSettled(t *testing.T) {
	v := newVM(t)
	for _, r := range recordedAnswers(t) {
		if r.status == "0" {
			continue // nothing came
		}
		want := r.reading()
		for _, pieces := range [][]string{{r.answer}, strings.SplitAfter(r.answer, ","), strings.SplitAfter(r.answer, "\n")} {
			h, err := v.call("envoy_on_response", map[string]any{"rsv": "token"}, map[string]any{":status": r.status, "content-type": r.contentType}, nil, pieces)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			got := v.answer(h)
			report := money(got.Report)
			delete(report, "others") // the filter leaves out those that cannot matter
			if diff := cmp.Diff(want, report); diff != "" || got.Body != r.answer {
				t.Errorf("%s in %d pieces (-want +got):\n%s", r.name, len(pieces), diff)
			}
		}
	}
}
