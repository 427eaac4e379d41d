package fakeprovider_test

import (
	"encoding/json"
	"strings"
	"testing"

	"aigateway/fakeprovider"
)

const include = `,"stream":true,"stream_options":{"include_usage":true}`

func TestClientLeaves(t *testing.T) {
	body := chat("fault:delay=5ms out=60", include+`,"max_tokens":60`)
	for name, test := range map[string]struct {
		cancels bool
		ok      func(tokens int64) bool
	}{
		"billed to the end":  {false, func(n int64) bool { return n == 60 }},
		"stopped generating": {true, func(n int64) bool { return n >= 1 && n < 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := start(t, fakeprovider.Config{CancelsOnDisconnect: test.cancels})
			leave(t, url+"/chat/completions", body, 6)
			settled(t, s)
			call := s.Calls()[0]
			if !call.ClientLeft || !test.ok(call.Billed.CompletionTokens) {
				t.Errorf("left %v, billed %+v", call.ClientLeft, call.Billed)
			}
		})
	}
}

func TestClientLeavesBeforeTheAnswer(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	conn := dial(t, url)
	body := chat("fault:hang out=7", `,"max_tokens":9`)
	send(t, conn, body)
	deadlineFor(t, func() bool { return s.InFlight() == 1 })
	conn.Close()
	settled(t, s)
	if b := s.Bill(); b.CompletionTokens != 7 {
		t.Errorf("billed %+v: a stopped plain call is billed in full", b)
	}
}

func TestBreaks(t *testing.T) {
	for fault, test := range map[string]struct {
		events    int // that arrive at most
		generated int64
	}{
		"reset_before_headers": {0, 0},
		"reset_after_headers":  {0, 0},
		"reset_after=3":        {3, 2}, // the first chunk only has the role
		"cut_after=3":          {3, 2},
		"error_after=3":        {4, 2},
	} {
		t.Run(fault, func(t *testing.T) {
			s, url := start(t, fakeprovider.Config{})
			_, body, err := post(t, url+"/chat/completions", chat("fault:out=20 "+fault, include))
			if err == nil && !strings.HasPrefix(fault, "error_after") {
				t.Error("the connection survived")
			}
			if n := strings.Count(string(body), "data: "); n > test.events {
				t.Errorf("%d events arrived, want at most %d", n, test.events)
			}
			if strings.Contains(string(body), "[DONE]") {
				t.Error("a broken stream said [DONE]")
			}
			settled(t, s)
			if got := s.Bill().CompletionTokens; got != test.generated {
				t.Errorf("billed %d output tokens, want the %d generated", got, test.generated)
			}
		})
	}
}

func TestPlainBreaksAreBilled(t *testing.T) {
	for _, fault := range []string{"reset_before_headers", "reset_after_headers", "reset_after=1", "cut_after=1"} {
		t.Run(fault, func(t *testing.T) {
			s, url := start(t, fakeprovider.Config{})
			if _, _, err := post(t, url+"/chat/completions", chat("fault:out=20 "+fault, "")); err == nil {
				t.Error("the answer arrived whole")
			}
			settled(t, s)
			if got := s.Bill().CompletionTokens; got != 20 {
				t.Errorf("billed %d, want 20", got)
			}
		})
	}
}

func TestShapes(t *testing.T) {
	plain := func(fault string) string { return chat("fault:out=12 "+fault, include) }
	for fault, test := range map[string]struct {
		eol     string
		reports int
		done    bool
	}{
		"":                      {"\n", 1, true},
		"crlf":                  {"\r\n", 1, true},
		"comments":              {"\n", 1, true},
		"split=1":               {"\n", 1, true},
		"hostile crlf comments": {"\r\n", 1, true},
		"extra":                 {"\n", 1, true},
		"running_usage":         {"\n", 14, true},
		"no_usage":              {"\n", 0, true},
		"no_done":               {"\n", 1, false},
	} {
		t.Run(fault, func(t *testing.T) {
			_, url := start(t, fakeprovider.Config{})
			_, body, err := post(t, url+"/chat/completions", plain(fault))
			if err != nil {
				t.Fatal(err)
			}
			all := events(t, body, test.eol)
			if done := all[len(all)-1] == "[DONE]"; done != test.done {
				t.Errorf("done %v, want %v", done, test.done)
			} else if done {
				all = all[:len(all)-1]
			}
			reports := 0
			for _, data := range all {
				var c answer
				if err := json.Unmarshal([]byte(data), &c); err != nil {
					t.Fatalf("%v: %s", err, data)
				}
				if c.Usage != nil {
					reports++
				}
			}
			if reports != test.reports {
				t.Errorf("%d reports, want %d", reports, test.reports)
			}
		})
	}
}

func TestBuckets(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	_, body, err := post(t, url+"/chat/completions", chat("fault:out=10 thoughts=9 cached=5", `,"max_tokens":100`))
	var got answer
	if err != nil || json.Unmarshal(body, &got) != nil {
		t.Fatalf("%v: %s", err, body)
	}
	b, u := s.Bill(), got.Usage
	if b.CompletionTokens != 19 || u.Completion != 10 || u.Total != u.Prompt+19 {
		t.Errorf("usage %+v, bill %+v: want 10 visible of 19", u, b)
	}
	want := ((b.PromptTokens-5)*price.Input + 5*price.CacheRead + 19*price.Output + 999) / 1000
	if b.CachedTokens != 5 || b.NanoUSD != want {
		t.Errorf("bill %+v, want %d nano-USD with 5 cached", b, want)
	}
}

func TestOtherAnswers(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	for fault, want := range map[string]string{
		"not_json":     "<html>",
		"bad_usage":    `"prompt_tokens":"many"`,
		"blank_first":  "\n\n\r\n{",
		"served=other": `"model":"other"`,
		"pad=3000":     strings.Repeat("x", 3000),
	} {
		s.Reset()
		status, body, err := post(t, url+"/chat/completions", chat("fault:"+fault, ""))
		if err != nil || status != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: status %d, error %v, body %.200s", fault, status, err, body)
		}
		if s.Bill().Calls != 1 {
			t.Errorf("%s: not billed", fault)
		}
	}
}

func TestLongStreamsBundleTokens(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	_, body, err := post(t, url+"/chat/completions", chat("fault:max", include+`,"max_tokens":30000`))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(events(t, body, "\n")); n > 510 || s.Bill().CompletionTokens != 30000 {
		t.Errorf("%d events for %d tokens", n, s.Bill().CompletionTokens)
	}
}

func TestParseFaults(t *testing.T) {
	for _, bad := range []string{"nonsense", "reset_after", "reset_after=-1", "crlf=1", "delay=5", "served="} {
		if f, err := fakeprovider.ParseFaults(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, f)
		}
	}
}
