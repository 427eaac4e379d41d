package accounting

import (
	"bytes"
	"strings"
	"time"

	"aigateway/envoy"
	"aigateway/pricing"
)

// unknownDuration stands for a duration that no entry told: longer than any
// call may run, so that a charge by time reaches the bound.
const unknownDuration = 24 * time.Hour

// evidence is what an entry proves about its call. Where Envoy is silent or
// answered itself, nothing is assumed in the client's favour but one thing: a
// request of which no byte was sent upstream, or that the provider says it has not
// touched, cost nothing.
func evidence(l *envoy.LogLine, now time.Time) pricing.Evidence {
	ev := pricing.Evidence{
		Sent: sent(l),
		Cut:  cut(l), Stream: l.Stream(), Duration: l.Duration,
		Usage: l.Usage, FirstUsage: l.FirstUsage, OtherUsage: l.OtherUsage, Many: l.Many,
		Model: l.Model, ServiceTier: l.ServiceTier, ToolUsage: l.ToolUsage,
		Seen: l.Seen, SeenAt: l.SeenAt,
		Done: l.Done, Finished: l.Finished, Output: l.Output, Unread: l.Unread,
	}
	switch {
	case l.UpstreamStatus != 0:
		ev.Status = l.UpstreamStatus
	case l.Details == "via_upstream" || l.Code < 400:
		ev.Status = l.Code
	default:
		ev.Status = 0 // Envoy's own error: the provider may have worked, and billed
	}
	if ev.Duration <= 0 {
		ev.Duration = unknownDuration
		if since := now.Sub(l.Start); l.Start.Unix() > 0 && since > 0 {
			ev.Duration = min(since, unknownDuration)
		}
	}
	return ev
}

// providerStatus is the HTTP status that the provider answered with; 0: none.
func providerStatus(l *envoy.LogLine) int {
	switch {
	case l.UpstreamStatus != 0:
		return l.UpstreamStatus
	case l.Details == "via_upstream":
		return l.Code
	}
	return 0
}

// sent reports whether a byte went to the provider, or an answer came from it,
// unless that is the word that it did nothing.
func sent(l *envoy.LogLine) bool {
	return l.Details != envoy.DetailsRefused && (l.Sent || l.Details == "via_upstream")
}

// cut reports whether a connection broke off, so that the provider may have
// noticed and stopped. A timer of ours that ran out is none: it is charged like
// an answer without a report.
func cut(l *envoy.LogLine) bool {
	for flag := range strings.SplitSeq(l.Flags, ",") {
		switch flag {
		case "DC", "DR", "UC", "UR", "LR", "DPE", "UPE", "OM":
			return !timedOut(l.Flags)
		}
	}
	return false
}

func timedOut(flags string) bool {
	for flag := range strings.SplitSeq(flags, ",") {
		switch flag {
		case "UT", "SI", "DT", "UMSDR":
			return true
		}
	}
	return false
}

// endOf is when the call ended.
func endOf(l *envoy.LogLine, now time.Time) time.Time {
	if l.Start.Unix() <= 0 {
		return now
	}
	return l.Start.Add(max(0, l.Duration))
}

// refused reports whether our own check answered no, for which it held nothing.
// A failed or timed-out check has a 5xx and may have held something.
func refused(l *envoy.LogLine) bool {
	return l.Code >= 400 && l.Code < 500 && l.Flags == "UAEX"
}

// salvage finds the whole line that follows a torn one: an Envoy that is killed
// leaves half a line, and the next one appends to it. Inside a value a quote is
// escaped, so an object that starts within the text of another cannot match.
func salvage(line []byte) (envoy.LogLine, bool) {
	mark := []byte(`{"`)
	for range 64 {
		i := bytes.Index(line[min(1, len(line)):], mark)
		if i < 0 {
			break
		}
		line = line[i+1:]
		if l, err := envoy.ParseLogLine(line); err == nil && l.RequestID != "" {
			return l, true
		}
	}
	return envoy.LogLine{}, false
}
