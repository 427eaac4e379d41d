package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// explanation is what /v1/explain and the command print.
type explanation struct {
	Lines []explainedLine
	Bound string `json:"bound_usd"`
	Room  *struct {
		Budget string
		USD    string `json:"room_usd"`
		Fits   bool
		Most   *int64 `json:"max_tokens_that_fit"`
	}
}

type explainedLine struct {
	Label, Unit, Note string
	Quantity          int64
	Pico              int64  `json:"pico_usd_per_unit"`
	Amount            string `json:"amount_usd"`
}

// TestExplainersAgree asks everybody who can explain a refusal: the refused call
// itself, the REST API, and the command with and without the running gateway.
func TestExplainersAgree(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	b := g.setBudget("tight", 2)
	bodies := map[string]struct{ path, body string }{
		"chat":      {"/v1/chat/completions", chatBody("fake/m1", "tight", "Größe 日本", `,"max_tokens":5000`)},
		"responses": {"/v1/responses", `{"model":"fake/m1","user":"tight","input":"hello there","max_output_tokens":5000}`},
	}
	for endpoint, c := range bodies {
		refused := wantError(t, g.insist(http.MethodPost, g.url+c.path, c.body, tagged("tight")), http.StatusPaymentRequired, "budget_exceeded")
		m := refused.Error.Metadata
		question, err := json.Marshal(map[string]string{"endpoint": endpoint, "tag": "tight", "body": c.body})
		if err != nil {
			t.Fatal(err)
		}
		var rest explanation
		r := g.try(http.MethodPost, g.url+"/v1/explain", string(question), nil)
		if r.status != http.StatusOK || json.Unmarshal(r.body, &rest) != nil || rest.Room == nil || rest.Room.Most == nil {
			t.Fatalf("%s: explain: %d %s %v", endpoint, r.status, r.body, r.err)
		}
		if rest.Bound != m["bound"] || float64(*rest.Room.Most) != m["max_tokens_that_fit"] || rest.Room.Budget != b.ID || rest.Room.Fits ||
			rest.Lines[len(rest.Lines)-1].Amount != m["bound"] {
			t.Errorf("%s: refused with %v, explained as %s", endpoint, m, r.body)
		}
		if diff := cmp.Diff(rest.Lines, refusedLines(t, m["lines"])); diff != "" {
			t.Errorf("%s: the refusal's lines (-REST +refusal):\n%s", endpoint, diff)
		}
		file := filepath.Join(g.dir, endpoint+".json")
		if err := os.WriteFile(file, []byte(c.body), 0o600); err != nil {
			t.Fatal(err)
		}
		asked := g.explain(t, "-f", file, "--endpoint", endpoint, "--tag", "tight", "--server", g.url)
		if diff := cmp.Diff(rest, asked); diff != "" {
			t.Errorf("%s: the command that asks (-REST +command):\n%s", endpoint, diff)
		}
		alone := g.explain(t, "-f", file, "--endpoint", endpoint, "--config", g.config, "--room", rest.Room.USD)
		rest.Room.Budget = "" // the command has only an amount
		if diff := cmp.Diff(rest, alone); diff != "" {
			t.Errorf("%s: the command alone (-REST +command):\n%s", endpoint, diff)
		}
	}
}

func refusedLines(t *testing.T, v any) []explainedLine {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var quoted []struct { // whole numbers are strings there
		Label, Unit, Note string
		Quantity          int64  `json:",string"`
		Pico              int64  `json:"pico_usd_per_unit,string"`
		Amount            string `json:"amount_usd"`
	}
	if err := json.Unmarshal(text, &quoted); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var lines []explainedLine
	for _, l := range quoted {
		lines = append(lines, explainedLine(l))
	}
	return lines
}

func (g *gateway) explain(t *testing.T, args ...string) explanation {
	t.Helper()
	command := exec.Command(binary, append([]string{"explain", "-o", "json"}, args...)...)
	command.Env = append(os.Environ(), fmt.Sprintf("AIGATEWAY_API_KEY=%s", adminKey))
	out, err := command.Output()
	var e explanation
	if err != nil || json.Unmarshal(out, &e) != nil {
		t.Fatalf("%v: %v %s", args, err, out)
	}
	return e
}
