package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkPageShare measures what an open page costs the calls beside it, without a
// browser on the same cores: a light client asks for what Today asks for, as often as it
// does while calls end, and reads its event stream. Times with and without it alternate,
// at the same rate of calls, on a gateway with 10,000 tags, 1,000 budgets and a year of
// days. An operation is such a pair; beside it stand a call's median and 99th percentile
// and the CPU that the gateway, without its Envoy, took for each call.
func BenchmarkPageShare(b *testing.B) {
	g := runOldGateway(b)
	v := g.visit(b)
	for range 3 { // caches fill
		v.today(b)
	}
	var took [2][]time.Duration
	var cpu [2]time.Duration
	b.ResetTimer()
	for range b.N {
		for i, open := range []bool{false, true} {
			ctx, end := context.WithCancel(b.Context())
			var page sync.WaitGroup
			if open {
				page.Go(func() { v.stay(ctx, b) })
			}
			from := g.cpu(b)
			took[i] = append(took[i], g.steady(b, 50, 10*time.Second)...)
			cpu[i] += g.cpu(b) - from
			end()
			page.Wait()
		}
	}
	for i, name := range []string{"alone", "with-the-page"} {
		slices.Sort(took[i])
		n := len(took[i])
		b.ReportMetric(took[i][n/2].Seconds()*1000, "p50-ms-"+name)
		b.ReportMetric(took[i][n*99/100].Seconds()*1000, "p99-ms-"+name)
		b.ReportMetric(float64(cpu[i].Microseconds())/float64(n), "cpu-us/call-"+name)
	}
}

// steady makes calls at a rate a second, whatever they take, and says how long each took.
func (g *gateway) steady(b *testing.B, rate int, lasts time.Duration) []time.Duration {
	b.Helper()
	took := make([]time.Duration, int(lasts.Seconds()*float64(rate)))
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var calls sync.WaitGroup
	for i := range took {
		<-tick.C
		calls.Go(func() {
			began := time.Now()
			if r := g.chat("fake/m1", fmt.Sprintf("team-%02d/app-01/job-1", i%20), "words", `,"max_tokens":9`); r.status != http.StatusOK {
				b.Errorf("%d %s", r.status, r.body)
			}
			took[i] = time.Since(began)
		})
	}
	calls.Wait()
	return took
}

// cpu is what the gateway's own process has taken.
func (g *gateway) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.program.pid()))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// today asks for what the page Today shows, one after the other, as it does.
func (v visit) today(b *testing.B) {
	month := time.Now().UTC().Format("2006-01")
	before := time.Now().UTC().AddDate(0, 0, -time.Now().UTC().Day()).Format("2006-01")
	paths := []string{"overview", "budgets?page_size=1000", "usage/by-tag?limit=5&month=" + month, "usage?group_by=day&from=" + month,
		"usage?group_by=day&from=" + before + "&to=" + month, "refusals?from=" + month}
	for i := range 5 {
		paths = append(paths, fmt.Sprintf("usage?group_by=day&from=%s&tag=team-%02d/app-%02d/job-1", month, i, i))
	}
	for _, path := range paths {
		a, err := v.ask(b.Context(), "/ui/api/v1/"+path)
		if err != nil {
			b.Error(err)
			return
		}
		if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusOK {
			b.Errorf("%s: %d %v", path, a.StatusCode, err)
		}
		a.Body.Close()
	}
}

// stay reads the event stream, and asks again five seconds after it last did if something
// happened, until ctx ends.
func (v visit) stay(ctx context.Context, b *testing.B) {
	a, err := v.ask(ctx, "/ui/events?page_size=100")
	if err != nil {
		b.Error(err)
		return
	}
	defer a.Body.Close()
	var last time.Time
	lines := bufio.NewScanner(a.Body)
	for lines.Buffer(nil, 1<<24); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") && time.Since(last) > 5*time.Second {
			last = time.Now()
			v.today(b)
		}
	}
	if ctx.Err() == nil {
		b.Error("the stream ended: ", lines.Err())
	}
}
