package ledger

import (
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/metricset"
)

// metrics counts what happens and, as a collector, reads what is.
type metrics struct {
	l   *Ledger
	set *metricset.Set
	all []prometheus.Collector

	refusals   *prometheus.CounterVec
	settles    *prometheus.CounterVec
	byBasis    map[budget.Basis]prometheus.Counter
	effects    [unattributed + 1]prometheus.Counter
	expired    prometheus.Counter
	violations prometheus.Counter
	waits      prometheus.Counter
	waited     prometheus.Histogram
	sync       prometheus.Histogram
	mismatches prometheus.Gauge
	checked    prometheus.Gauge

	descOpen, descWaiting, descOldest, descLag, descQueue, descUp, descSpent, descReserved, descCap, descBudgets, descOrphaned, descClock, descSize, descFull *prometheus.Desc

	growth growth
}

func newMetrics(l *Ledger, registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		l: l, set: metricset.New(registry),
		refusals:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aig_reservation_refusals_total", Help: "Refused reservations by reason."}, []string{"reason"}),
		settles:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aig_settlements_total", Help: "Settlements that had an effect, by what the charge rests on."}, []string{"basis"}),
		expired:    counter("aig_reservations_expired_total", "Reservations charged at their bound because no log entry came in time."),
		violations: counter("aig_bound_violations_total", "Calls that cost more than their bound."),
		waits:      counter("aig_reserve_waits_total", "Times a reservation waited for the disk."),
		waited:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aig_reservation_wait_seconds", Help: "How long calls waited for running ones to give back what they hold.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 12)}),
		sync:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aig_sync_seconds", Help: "Duration of a commit.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12)}),
		mismatches: prometheus.NewGauge(prometheus.GaugeOpts{Name: "aig_ledger_mismatches", Help: "Totals that differed from their rows at the last check of the books; above 0 is an alarm."}),
		checked:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "aig_ledger_checked_timestamp_seconds", Help: "When the books were last checked; 0: not since the start."}),
		byBasis:    map[budget.Basis]prometheus.Counter{},

		descOpen:     prometheus.NewDesc("aig_reservations_open", "Reservations that are neither settled nor expired.", nil, nil),
		descWaiting:  prometheus.NewDesc("aig_reservations_waiting", "Calls that wait for running ones to give back what they hold.", nil, nil),
		descOldest:   prometheus.NewDesc("aig_reservation_oldest_open_seconds", "Age of the oldest open reservation; leaks show here first.", nil, nil),
		descLag:      prometheus.NewDesc("aig_journal_lag_seconds", "Age of the oldest event that is not durable yet.", nil, nil),
		descQueue:    prometheus.NewDesc("aig_journal_queue_events", "Events that wait for a commit.", nil, nil),
		descUp:       prometheus.NewDesc("aig_ledger_up", "1 while reservations are served, 0 after the journal failed.", nil, nil),
		descSpent:    prometheus.NewDesc("aig_budget_spent_usd", "Spent in the current window.", []string{"budget", "target", "period"}, nil),
		descReserved: prometheus.NewDesc("aig_budget_reserved_usd", "Reserved in the current window, including what a crash left undecided.", []string{"budget", "target", "period"}, nil),
		descCap:      prometheus.NewDesc("aig_budget_cap_usd", "Cap of the budget.", []string{"budget", "target", "period"}, nil),
		descBudgets:  prometheus.NewDesc("aig_budgets", "Budgets; above the limit the rest has no metrics of its own.", nil, nil),
		descClock:    prometheus.NewDesc("aig_clock_ahead_seconds", "How far the clock is ahead of the time that windows go by, with a store the store's; far from 0, one of them is wrong, and after a leap windows wait: an alarm.", nil, nil),
		descSize:     prometheus.NewDesc("aig_ledger_bytes", "Size of the database and its journal.", nil, nil),
		descFull:     prometheus.NewDesc("aig_disk_full_days", "Days for which the free disk lasts at the database's growth of the last day, 3651 for ten years and more; below 14 is an alarm.", nil, nil),
		descOrphaned: prometheus.NewDesc("aig_orphaned_usd", "Held because a crash left it undecided, over all accounts.", nil, nil),
	}
	for _, b := range []budget.Basis{budget.BasisUsage, budget.BasisElapsed, budget.BasisBound, budget.BasisProviderError, budget.BasisReleased, budget.BasisUnpriced} {
		m.byBasis[b] = m.settles.WithLabelValues(string(b))
	}
	m.effects[refunded] = counter("aig_expiries_corrected_total", "Expired reservations that a late log entry corrected.")
	m.effects[fromOrphan] = counter("aig_orphans_settled_total", "Calls that a crash had erased and a log entry brought back.")
	m.effects[strayCharged] = counter("aig_stray_settlements_total", "Calls charged although this ledger never reserved them.")
	m.effects[duplicate] = counter("aig_settlements_repeated_total", "Log entries that told the ledger of a finished reservation once more; aig_log_duplicates_total has those that were stopped before it.")
	m.effects[unattributed] = counter("aig_settlements_unattributed_total", "Calls that were sent without a known reservation.")
	m.all = []prometheus.Collector{m, m.refusals, m.settles, m.expired, m.violations, m.waits, m.waited, m.sync, m.mismatches, m.checked}
	for _, c := range m.effects {
		if c != nil {
			m.all = append(m.all, c)
		}
	}
	return m
}

// register publishes the metrics once the ledger can answer for them.
func (m *metrics) register() error {
	m.set.Add(m.all...)
	return m.set.Done()
}

func (m *metrics) refuse(reason string) { m.refusals.WithLabelValues(reason).Inc() }

func (m *metrics) settle(s settled) {
	if c := m.effects[s.effect]; c != nil {
		c.Inc()
	}
	if s.excess > 0 {
		m.violations.Inc()
	}
	switch s.effect {
	case duplicate, nothing, unattributed:
		return
	}
	if c := m.byBasis[s.basis]; c != nil {
		c.Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.descOpen, m.descWaiting, m.descOldest, m.descLag, m.descQueue, m.descUp, m.descSpent, m.descReserved, m.descCap, m.descBudgets, m.descOrphaned, m.descClock, m.descSize, m.descFull} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It copies under the lock and sends
// after it: the receiver may be slow.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	var out []prometheus.Metric
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	for _, g := range m.read() {
		gauge(g.desc, g.value, g.labels...)
	}
	if bytes, free, err := diskUse(m.l.config.Dir); err == nil {
		gauge(m.descSize, float64(bytes))
		gauge(m.descFull, m.growth.daysLeft(m.l.config.Now(), bytes, free))
	}
	for _, s := range out {
		ch <- s
	}
}

type reading struct {
	desc   *prometheus.Desc
	value  float64
	labels []string
}

func (m *metrics) read() []reading {
	l := m.l
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.core
	c.advance(&at)
	oldest, lag, up := at.wall, int64(0), 1.0
	for _, h := range c.open {
		oldest = min(oldest, h.reservedAt)
	}
	if len(c.queue) > 0 {
		lag = max(0, at.mono-l.queuedAt)
	}
	if l.err != nil {
		up = 0
	}
	var orphaned budget.Amount
	for _, a := range c.pools {
		orphaned += a.orphan
	}
	out := []reading{
		{m.descOpen, float64(len(c.open)), nil}, {m.descWaiting, float64(c.waiting.count), nil}, {m.descOldest, float64(at.wall-oldest) / 1e9, nil}, {m.descLag, float64(lag) / 1e9, nil},
		{m.descQueue, float64(len(c.queue)), nil}, {m.descUp, up, nil}, {m.descBudgets, float64(len(c.rules.ids)), nil}, {m.descOrphaned, usd(orphaned), nil},
		{m.descClock, l.clockAhead(at).Seconds(), nil},
	}
	for _, id := range c.rules.ids[:min(len(c.rules.ids), l.config.MetricBudgets)] {
		r := c.rules.byID[id]
		st := c.status(r, at.wall)
		labels := []string{r.ID, r.Target.Label(), r.Period.String()}
		out = append(out, reading{m.descSpent, usd(st.Spent), labels}, reading{m.descReserved, usd(st.Reserved), labels}, reading{m.descCap, usd(st.Cap), labels})
	}
	return out
}

// usd is for a graph; nothing is computed from it.
func usd(a budget.Amount) float64 { return float64(a) / float64(budget.Dollar) }
