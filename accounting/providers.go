package accounting

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/metricset"
)

// How a call to a provider ended. The first three are no fault of a provider.
const (
	outcomeOK          = "ok"
	outcomeClientLeft  = "client_left"
	outcomeRequest     = "request_error" // 4xx: the request is wrong
	outcomeDenied      = "denied"        // 401, 402, 403: our key or account
	outcomeRateLimited = "rate_limited"
	outcomeServer      = "server_error"
	outcomeTimeout     = "timeout"
	outcomeCut         = "cut"         // the answer began and broke off
	outcomeUnreachable = "unreachable" // no answer at all
)

// Providers learns how providers answer, for metrics, the log and readiness. It
// is safe for concurrent use; the nil one learns nothing.
type Providers struct {
	log      *slog.Logger
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	tokens   *metricset.Names

	mu     sync.Mutex
	recent map[string]*recent // by provider: they come from the configuration
}

// recent are the calls of the last one to two spans.
type recent struct {
	began          time.Time // of this span
	calls, faults  [2]int64  // of this span and the one before
	took           [2]time.Duration
	outcome, cause string    // of the last fault
	told           time.Time // when the log said so last
	untold         int64     // faults since then
}

// span is what readiness looks back on, once or twice; tellEvery is how often the
// log tells of one provider.
const (
	span      = time.Minute
	tellEvery = 10 * time.Second
)

// NewProviders returns an empty view, with its metrics on r.
func NewProviders(r prometheus.Registerer, log *slog.Logger) (*Providers, error) {
	p := &Providers{
		log: log, recent: map[string]*recent{},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aig_provider_calls_total",
			Help: "Calls that ended, by provider and how: ok, client_left, request_error (4xx), denied (401, 402, 403), rate_limited, server_error, timeout, cut (an answer that broke off), unreachable.",
		}, []string{"provider", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aig_provider_seconds", Help: "How long calls took, to the last byte, by provider.", Buckets: prometheus.ExponentialBuckets(0.1, 2, 14),
		}, []string{"provider"}),
		tokens: metricset.NewNames("aig_model_tokens_total", "Tokens that providers reported, by model and kind (input, cache_read, cache_write, output); the empty model is all beyond 200.", "model", "kind"),
	}
	set := metricset.New(r)
	set.Add(p.outcomes, p.seconds, p.tokens)
	return p, set.Done()
}

// observe counts a call that ended at now. A channel that settles an entry a
// second time counts it twice.
func (p *Providers) observe(l *envoy.LogLine, token *envoy.Token, tokens budget.Tokens, now time.Time) {
	if p == nil || token.Provider == "" {
		return
	}
	outcome := outcomeOf(l)
	p.outcomes.WithLabelValues(token.Provider, outcome).Inc()
	p.seconds.WithLabelValues(token.Provider).Observe(l.Duration.Seconds())
	for kind, n := range map[string]int64{"input": tokens.Input, "cache_read": tokens.CacheRead, "cache_write": tokens.CacheWrite, "output": tokens.Output} {
		if n > 0 {
			p.tokens.Add(float64(n), token.Model, kind)
		}
	}
	p.remember(l, token.Provider, outcome, now)
}

// outcomeOf tells by whom the end of a call was caused.
func outcomeOf(l *envoy.LogLine) string {
	status := evidence(l, l.Start).Status
	switch {
	case timedOut(l.Flags):
		return outcomeTimeout
	case slices.Contains(strings.Split(l.Flags, ","), "DC"):
		return outcomeClientLeft
	case status == 0:
		return outcomeUnreachable
	case cut(l):
		return outcomeCut
	case status == 401, status == 402, status == 403:
		return outcomeDenied
	case status == 429:
		return outcomeRateLimited
	case status >= 500:
		return outcomeServer
	case status >= 400:
		return outcomeRequest
	}
	return outcomeOK
}

func (p *Providers) remember(l *envoy.LogLine, provider, outcome string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.recent[provider]
	if r == nil {
		r = &recent{began: now}
		p.recent[provider] = r
	}
	r.turn(now)
	r.calls[0]++
	r.took[0] += l.Duration
	switch outcome {
	case outcomeOK, outcomeClientLeft, outcomeRequest:
		return
	}
	r.faults[0]++
	r.untold++
	r.outcome, r.cause = outcome, l.Details
	if now.Sub(r.told) < tellEvery {
		return
	}
	p.log.Warn("a provider failed", "provider", provider, "outcome", outcome, "status", l.Code, "flags", l.Flags, "details", l.Details,
		"request_id", l.RequestID, "took", l.Duration, "faults_since_last_told", r.untold)
	r.told, r.untold = now, 0
}

// turn begins a new span where the last one is over. A now before its beginning, of
// another channel, counts to it.
func (r *recent) turn(now time.Time) {
	if age := now.Sub(r.began); age >= span {
		last := [2]int64{0, r.calls[0]}
		faults, took := [2]int64{0, r.faults[0]}, [2]time.Duration{0, r.took[0]}
		if age >= 2*span {
			last, faults, took = [2]int64{}, [2]int64{}, [2]time.Duration{}
		}
		r.began, r.calls, r.faults, r.took = now, last, faults, took
	}
}

// Lately is how providers answered in the last one to two minutes, by name.
func (p *Providers) Lately(now time.Time) (out []budget.ProviderState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, r := range p.recent {
		r.turn(now)
		out = append(out, budget.ProviderState{Name: name, Calls: r.calls[0] + r.calls[1], Faults: r.faults[0] + r.faults[1], Took: r.took[0] + r.took[1], LastFault: r.outcome})
	}
	slices.SortFunc(out, func(a, b budget.ProviderState) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Failing says which providers failed at least half of their calls lately, and at
// least three; nil: none. The gateway serves on: others may be well, and refusing
// calls to a provider would not help it.
func (p *Providers) Failing(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failing []string
	for name, r := range p.recent {
		r.turn(now)
		calls, faults := r.calls[0]+r.calls[1], r.faults[0]+r.faults[1]
		if faults >= 3 && 2*faults >= calls {
			failing = append(failing, fmt.Sprintf("%s failed %d of its last %d calls, the last by %s (%s)", name, faults, calls, r.outcome, r.cause))
		}
	}
	if len(failing) == 0 {
		return nil
	}
	slices.Sort(failing)
	return fmt.Errorf("%s", strings.Join(failing, "; "))
}
