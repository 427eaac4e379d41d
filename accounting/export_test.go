package accounting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/protobuf/proto"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/metricset"
	"aigateway/pricing"
)

// OriginWait is how long an unknown id is waited for.
const OriginWait = originWait

// Evidence is what an entry proves.
var Evidence = evidence

// Begin does what Run does before its first step.
func (s *Spool) Begin() { s.position = s.ledger.SpoolPosition() }

// Step is one round of Run.
func (s *Spool) Step(ctx context.Context) (more bool, err error) { return s.step(ctx) }

// Close lets go of the file, as Run does at its end.
func (s *Spool) Close() { s.close() }

// MaxLine is the longest line that is read.
const MaxLine = maxLine

// Observe counts a settled call of a model that is called like the tag.
func (r *Ratios) Observe(tag budget.Tag, basis budget.Basis, bound, cost budget.Amount) {
	r.observe(tag, string(tag), basis, bound, cost)
}

// Settlement is what a channel makes of an entry.
func Settlement(c Config, l *envoy.LogLine) budget.Settlement {
	ch := newChannel(c, metricset.New(c.Metrics), "test")
	s, _ := ch.settlement(l)
	return s
}

// Heartbeat is what a channel makes of an entry of a call that is still running.
func Heartbeat(c Config, l *envoy.LogLine) {
	ch := newChannel(c, metricset.New(c.Metrics), "test")
	ch.heartbeat(l)
}

// Observe remembers an answer as the end of its call does.
func Observe(a *Answers, keyID, model, id string, items []string, pin string, out pricing.Outcome) {
	l := &envoy.LogLine{}
	l.AnswerID, l.ItemIDs = id, items
	provider, _, _ := strings.Cut(model, "/")
	a.observe(l, &envoy.Token{KeyID: keyID, Model: model, Provider: provider, Pin: pin}, &out)
}

// ObserveAny remembers an answer of model m with key k.
func ObserveAny(a *Answers, id string, items []string) {
	known := &answer{keyID: "k", model: "m", Answered: pricing.Answered{Response: 2, Output: 1}}
	for _, name := range append(items, id) {
		a.keep(answerName{"m", name}, known)
	}
}

// Remembered is how many names are kept.
func Remembered(a *Answers) int { return len(a.byName) }

// StreamAccessLogs serves a stream of generated types, for tests that have no
// connection.
func (s *Stream) StreamAccessLogs(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&alsv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return fmt.Errorf("receive access log entries: %w", err)
		}
		for _, in := range msg.GetHttpLogs().GetLogEntry() {
			b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(in)
			if err != nil {
				return err
			}
			e, err := wire.ReadEntry(b)
			s.take(stream.Context(), &e, err)
		}
	}
}

// MaxOrigins is how many stored responses are remembered.
const MaxOrigins = maxOrigins

// ObserveOrigin remembers a response as the end of its call does.
func ObserveOrigin(o *Origins, keyID, provider, id, pin string) {
	l := &envoy.LogLine{}
	l.AnswerID = id
	o.observe(l, &envoy.Token{KeyID: keyID, Provider: provider, Pin: pin})
}

// OutcomeOf tells by whom the end of a call was caused.
var OutcomeOf = outcomeOf

// ObserveProvider counts a call to a provider.
func ObserveProvider(p *Providers, l *envoy.LogLine, provider string, at time.Time) {
	p.observe(l, &envoy.Token{Provider: provider, Model: provider + "/m"}, budget.Tokens{Input: 1}, at)
}
