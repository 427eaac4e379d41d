package pricing_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"aigateway/budget"
	"aigateway/pricing"
)

// recordedRequest is a request as people and agents make them, and what its input
// is billed: counted apart from this repository's code, see its source.
type recordedRequest struct {
	Name     string
	Endpoint pricing.Endpoint
	Billed   int64
	Source   string
	Body     json.RawMessage
}

func recordedRequests(t testing.TB) (out []recordedRequest) {
	f, err := os.Open("testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recordedRequest
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Source == "" {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		out = append(out, r)
	}
	if lines.Err() != nil || len(out) < 12 {
		t.Fatalf("%d requests, %v", len(out), lines.Err())
	}
	return out
}

// TestTightness measures how far the bound of the input is above what is billed:
// with -v it prints the table that is in the decision records.
func TestTightness(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbody\tbilled\tby bytes\t\ttokenizer\t\tcall USD, by bytes\ttokenizer\t")
	plain, words := published(t), counting(t)
	var byBytes, counted []float64
	for _, r := range recordedRequests(t) {
		a, b := mustBound(t, plain, r.Endpoint, string(r.Body), noon()), mustBound(t, words, r.Endpoint, string(r.Body), noon())
		x, y := float64(inputOf(t, a))/float64(r.Billed), float64(inputOf(t, b))/float64(r.Billed)
		byBytes, counted = append(byBytes, x), append(counted, y)
		if y < 1 || x < y {
			t.Errorf("%s: %.3f times its bill by bytes, %.3f with the tokenizer", r.Name, x, y)
		}
		usd := func(b *pricing.Bound) string { return fmt.Sprintf("%.4f", float64(b.Amount)/float64(budget.Dollar)) }
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.2fx\t%d\t%.2fx\t%s\t%s\t\n", r.Name, len(r.Body), r.Billed, inputOf(t, a), x, inputOf(t, b), y, usd(a), usd(b))
	}
	fmt.Fprintf(w, "median\t\t\t\t%.2fx\t\t%.2fx\t\t\t\n", median(byBytes), median(counted))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("input bounded over input billed:\n%s", table.String())
	if m := median(counted); m > 1.25 {
		t.Errorf("with the tokenizer the median is %.2f, above 1.25", m)
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}
