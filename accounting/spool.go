package accounting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/metricset"
)

const (
	defaultMaxBytes = 256 << 20
	defaultPoll     = time.Second
	reopenEvery     = 2 * time.Second
)

// File is the JSON access log that Envoy writes.
type File struct {
	Path string
	// MaxBytes is the size at which the file is renamed away and Envoy asked to
	// open a new one; 0: 256 MiB. Envoy only appends, so a smaller file costs
	// nothing but renames.
	MaxBytes int64
	// Reopen makes Envoy open Path anew. It may fail while Envoy is down, and
	// is then called again. Nil: the file is never rotated.
	Reopen func(context.Context) error
	// Poll is how often the file is looked at; 0: 1 s. The stream is quicker, and
	// a line that it has settled already need not be parsed.
	Poll time.Duration
}

// Spool settles what the file says. It starts where the ledger's durable
// position is, and deletes a rotated file only after that position has passed
// it, so that a crash at any point repeats lines and never skips one.
type Spool struct {
	channel
	file     File
	caughtUp atomic.Bool

	lag          prometheus.Gauge
	truncations  prometheus.Counter
	reopenErrors prometheus.Counter

	// Owned by Run.
	reader     *reader
	position   budget.SpoolPosition // durable in the ledger
	lastReopen time.Time
	lastError  string // logged last
}

// NewSpool returns the reader of f; Run starts it.
func NewSpool(c Config, f File) (*Spool, error) {
	if f.MaxBytes <= 0 {
		f.MaxBytes = defaultMaxBytes
	}
	if f.Poll <= 0 {
		f.Poll = defaultPoll
	}
	set := metricset.New(c.Metrics)
	counter := func(name, help string) prometheus.Counter {
		return metricset.Share(set, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &Spool{
		channel: newChannel(c, set, "file"),
		file:    f,
		lag: metricset.Share(set, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aig_spool_lag_bytes", Help: "Bytes of the access log file that are not in the ledger yet.",
		})),
		truncations:  counter("aig_spool_truncations_total", "Times the access log file was cut or replaced under the reader."),
		reopenErrors: counter("aig_spool_reopen_errors_total", "Times Envoy could not be asked to open a new access log file."),
	}, set.Done()
}

// CaughtUp reports whether every line that was in the file at the last look is
// in the ledger. It is safe for concurrent use.
func (s *Spool) CaughtUp() bool { return s.caughtUp.Load() }

// Run reads until ctx ends, and then what is still in the file: whoever stops
// Envoy first and Run second loses no line. The ledger taking no more is an
// error; the position is then where the ledger last said.
func (s *Spool) Run(ctx context.Context) error {
	s.position = s.ledger.SpoolPosition()
	defer s.close()
	tick := time.NewTicker(s.file.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		more, err := s.step(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return s.readRest(context.WithoutCancel(ctx))
}

// restTimeout bounds the last look; a restart reads what it did not reach.
const restTimeout = 10 * time.Second

func (s *Spool) readRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restTimeout)
	defer cancel()
	for {
		more, err := s.step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// step reads and settles one batch, or takes the next file when one is
// finished. It reports whether another step should follow at once.
func (s *Spool) step(ctx context.Context) (more bool, err error) {
	if s.reader == nil {
		found, err := s.first()
		if err != nil || !found {
			s.note(err)
			return false, nil
		}
	}
	b, err := s.reader.read()
	if err != nil {
		s.note(err)
		return false, nil
	}
	if b.truncated {
		s.truncations.Inc()
		s.log.Warn("the access log file was cut; reading it from its start", "file", s.reader.path)
	}
	if b.end > b.start {
		if err := s.settle(ctx, b); err != nil || b.size > b.end {
			return true, err
		}
	}
	return s.drained(ctx)
}

// settle gives a batch of whole lines and the position behind them to the
// ledger. A crash before it returns reads the same lines again.
func (s *Spool) settle(ctx context.Context, b batch) error {
	var out []budget.Settlement
	var skipped skipped
	b.eachLine(func(at int64, line []byte) {
		var err error
		if out, err = s.line(line, out); err != nil {
			skipped.add(at, err)
		}
	})
	if b.overlong {
		skipped.add(b.start, errOverlong)
	}
	s.report(&skipped)
	position := budget.SpoolPosition{File: b.file, Offset: b.end}
	if err := s.ledger.SettleSpool(ctx, out, position); err != nil {
		s.metrics.unsettled.Add(float64(len(out)))
		return fmt.Errorf("settle the access log file: %w", err)
	}
	if s.position.File != position.File {
		s.removeOlder()
	}
	s.position = position
	s.reader.advance(b.end)
	s.lag.Set(float64(max(0, b.size-b.end)))
	return nil
}

// skipped are the lines of a batch that could not be read.
type skipped struct {
	lines int
	at    int64 // offset of the first
	err   error // of the first
}

func (k *skipped) add(at int64, err error) {
	if k.lines++; k.lines == 1 {
		k.at, k.err = at, err
	}
}

var errOverlong = errors.New("a line is longer than any that Envoy writes for us")

func (s *Spool) report(k *skipped) {
	if k.lines == 0 {
		return
	}
	s.metrics.malformed.Add(float64(k.lines))
	s.log.Warn("lines of the access log file could not be read; a call that nothing else tells of is charged its bound",
		"file", s.reader.path, "lines", k.lines, "first_at_byte", k.at, "err", k.err)
}

// line appends what one line settles. A line that cannot be read is an error
// and releases nothing: its hold stays until its deadline charges it. What
// follows a torn line is still found.
func (s *Spool) line(line []byte, out []budget.Settlement) ([]budget.Settlement, error) {
	if s.settled(line) {
		s.metrics.ended.Inc()
		s.metrics.duplicates.Inc()
		return out, nil
	}
	l, err := envoy.ParseLogLine(line)
	if err != nil {
		var found bool
		if l, found = salvage(line); !found {
			return out, err
		}
	}
	s.metrics.ended.Inc()
	if settlement, ok := s.settlement(&l); ok {
		out = append(out, settlement)
	}
	return out, err
}

// settled reports whether the line is certainly a repeat, which most are: the
// stream was faster. Then it is not parsed.
func (s *Spool) settled(line []byte) bool {
	text, ok := envoy.PeekToken(line)
	if !ok {
		return false
	}
	token, err := s.sealer.Open(string(text))
	return err == nil && !s.ledger.IsOpen(budget.ReservationID(token.ID))
}

// drained handles a file without a further whole line: it is finished when
// Envoy writes into another one by now, and rotated when it is large.
func (s *Spool) drained(ctx context.Context) (more bool, err error) {
	files, err := list(s.file.Path)
	if err != nil {
		s.note(err)
		return false, nil
	}
	s.lag.Set(float64(s.reader.pending()))
	next, found, err := after(files, s.reader)
	if err != nil {
		s.note(err)
		return false, nil
	}
	if found {
		return s.finish(next)
	}
	s.caughtUp.Store(true)
	if s.file.Reopen == nil || hasCurrent(files) && s.reader.offset < s.file.MaxBytes {
		return false, nil
	}
	if hasCurrent(files) {
		if err := rotate(s.file.Path, files); err != nil {
			s.note(err)
			return false, nil
		}
		s.lastReopen = time.Time{}
	}
	s.reopen(ctx)
	return false, nil
}

// finish leaves a file for the next one, after one more look: lines may have
// come between the last look and the moment the next file appeared.
func (s *Spool) finish(next logFile) (more bool, err error) {
	if !s.reader.last {
		s.reader.last = true
		return true, nil
	}
	if s.reader.pending() > 0 {
		s.metrics.malformed.Inc() // a half line that nobody will end
	}
	r, err := openReader(next.path, 0)
	if err != nil {
		s.note(err)
		return false, nil
	}
	s.close()
	s.reader = r
	return true, nil
}

// reopen asks Envoy for a new file, which it may need to be asked repeatedly:
// it can be down, or between two starts.
func (s *Spool) reopen(ctx context.Context) {
	now := s.now()
	if now.Sub(s.lastReopen) < reopenEvery {
		return
	}
	s.lastReopen = now
	if err := s.file.Reopen(ctx); err != nil && ctx.Err() == nil {
		s.reopenErrors.Inc()
		s.log.Warn("ask Envoy to open a new access log file", "err", err)
	}
}

// first opens the file of the durable position, or the oldest there is: every
// line in it is either new or already settled.
func (s *Spool) first() (found bool, err error) {
	files, err := list(s.file.Path)
	if err != nil {
		return false, err
	}
	if len(files) == 0 {
		s.caughtUp.Store(true) // nothing was written since
		return false, nil
	}
	for _, f := range files {
		found, err := s.resume(f.path)
		if err != nil {
			return false, err
		}
		if found {
			s.removeOlder() // a crash may have come between the position and this
			return true, nil
		}
	}
	if s.position.File != "" {
		s.truncations.Inc()
		s.log.Warn("the access log file that was read last is gone or was replaced; calls that only it told of are charged their bounds", "read_now", files[0].path)
	}
	s.reader, err = openReader(files[0].path, 0)
	return err == nil, err
}

// resume opens path if it is the file of the durable position.
func (s *Spool) resume(path string) (bool, error) {
	if s.position.File == "" {
		return false, nil
	}
	r, err := openReader(path, s.position.Offset)
	if err != nil {
		return false, err
	}
	id, err := r.identity(s.position.Offset)
	if err != nil || id != s.position.File {
		return false, errors.Join(err, r.close())
	}
	s.reader = r
	return true, nil
}

// removeOlder deletes the files that are older than the one being read. The
// caller has seen a position in this one become durable.
func (s *Spool) removeOlder() {
	files, err := list(s.file.Path)
	if err != nil {
		s.log.Warn("list access log files", "err", err)
		return
	}
	st, err := s.reader.f.Stat()
	if err != nil {
		s.log.Warn("stat access log file", "err", err)
		return
	}
	at := slices.IndexFunc(files, func(f logFile) bool { return os.SameFile(f.info, st) })
	for _, f := range files[:max(0, at)] {
		if err := os.Remove(f.path); err != nil {
			s.log.Warn("remove a settled access log file", "err", err)
		}
	}
}

// note logs what kept the file from being read, once, until it changes. The next
// look tries again: a file may come or go between two looks at it, and the
// holds that stay open meanwhile are charged at their deadline, never lost.
func (s *Spool) note(err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) {
		return
	}
	s.caughtUp.Store(false)
	if text := err.Error(); text != s.lastError {
		s.lastError = text
		s.log.Error("read the access log file", "err", err)
	}
}

func (s *Spool) close() {
	if s.reader == nil {
		return
	}
	if err := s.reader.close(); err != nil {
		s.log.Warn("close the access log file", "err", err)
	}
	s.reader = nil
}
