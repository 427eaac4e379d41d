package accounting

import (
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

// metrics of one channel. Both channels register the same ones and differ in
// the label channel.
type metrics struct {
	settled *prometheus.CounterVec // by basis
	flags   *prometheus.CounterVec // by flag
	served  *prometheus.CounterVec // by the model asked for and the one that answered

	ended, periodic, other        prometheus.Counter // entries by kind
	refused, searched, free       prometheus.Counter // ends without a token of ours
	duplicates, malformed, forged prometheus.Counter
	unsettled                     prometheus.Counter // settlements the ledger did not take
	absurd                        prometheus.Counter // bills far beyond what a call can cost
}

func newMetrics(set *metricset.Set, channel string) metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := metricset.Share(set, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"channel"}, labels...)))
		return v.MustCurryWith(prometheus.Labels{"channel": channel})
	}
	entries := counters("aig_log_entries_total", "Access log entries read, by channel and kind.", "kind")
	untokened := counters("aig_log_untokened_total", "Ended calls without a reservation of ours: refused ones and our own routes (refused), those that no provider bills (free), and those that were looked up by request id (searched).", "kind")
	return metrics{
		settled:    counters("aig_settled_total", "Settlements given to the ledger, by basis and channel.", "basis"),
		flags:      counters("aig_charge_flags_total", "Oddities found while pricing, such as bound_exceeded or usage_inconsistent.", "flag"),
		served:     counters("aig_served_other_model_total", "Calls that another known model answered, and that are charged at its price, or at the one you wrote for the model asked for if that is dearer.", "asked", "served"),
		ended:      entries.WithLabelValues("end"),
		periodic:   entries.WithLabelValues("periodic"),
		other:      entries.WithLabelValues("other"),
		refused:    untokened.WithLabelValues("refused"),
		searched:   untokened.WithLabelValues("searched"),
		free:       untokened.WithLabelValues("free"),
		duplicates: counters("aig_log_duplicates_total", "Entries of reservations that were settled before.").WithLabelValues(),
		malformed:  counters("aig_log_malformed_total", "Entries that could not be read; they release nothing.").WithLabelValues(),
		absurd:     counters("aig_absurd_bills_total", "Reports of more than ten times what the call, or a full context, can cost; charged at that, listed by aigateway audit list. Alarm on any.").WithLabelValues(),
		forged:     counters("aig_log_tokens_rejected_total", "Tokens whose signature is not ours.").WithLabelValues(),
		unsettled:  counters("aig_log_unsettled_total", "Settlements that the ledger did not take.").WithLabelValues(),
	}
}
