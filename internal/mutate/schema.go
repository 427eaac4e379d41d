package main

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// helper is the file that switches a package's mutants. With a trace file, it
// notes there which mutants are reached. On Linux, a mutant that allocates
// without end dies of it instead of taking the machine along, as does one that
// computes without end.
const helper = `package %s

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Every mutant reads it, those in the values of package variables too: so the
// limits are there before any of them runs.
var aigMutant = func() int {
	if s, err := strconv.ParseUint(os.Getenv("AIG_MUTANT_SECONDS"), 10, 64); err == nil {
		_ = syscall.Setrlimit(0, &syscall.Rlimit{Cur: s, Max: s}) // RLIMIT_CPU, which syscall does not name
		const most = 6 << 30
		_ = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most})
	}
	n, _ := strconv.Atoi(os.Getenv("AIG_MUTANT"))
	return n
}()

var aigTrace = os.Getenv("AIG_MUTANT_TRACE")

var aigTracing = aigTrace != ""

var aigSeen [%d]atomic.Bool

// aigOn reports whether a mutant is switched on.
func aigOn(id int) bool { return id == aigMutant || aigTracing && !aigSeen[id].Load() && aigReached(id) }

// aigOff reports whether none from low to high is switched on.
func aigOff(low, high int) bool { return aigMutant < low || aigMutant > high }

func aigReached(id int) bool {
	if !aigSeen[id].Swap(true) {
		if f, err := os.OpenFile(aigTrace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			_, _ = f.WriteString(strconv.Itoa(id) + "\n")
			_ = f.Close()
		}
	}
	return false
}

func aigSelect[T any](id int, other, own func() T) T {
	if aigOn(id) {
		return other()
	}
	return own()
}
`

// span is where a point came to stand in the text that was rendered.
type span struct {
	start, end int
	point      *point
}

// renderer writes a file with its points switched.
type renderer struct {
	src   string
	out   strings.Builder
	spans []span
}

// render writes the file with all points that were not dropped.
func render(src string, points []*point) (string, []span) {
	var live []*point
	for _, p := range points {
		if !p.dropped {
			live = append(live, p)
		}
	}
	slices.SortStableFunc(live, func(a, b *point) int {
		if a.start != b.start {
			return a.start - b.start
		}
		if a.end != b.end {
			return b.end - a.end
		}
		return int(b.kind) - int(a.kind) // a statement holds the expression it is
	})
	r := renderer{src: src}
	r.write(0, len(src), live)
	return r.out.String(), r.spans
}

// write writes src from start to end; the points are those within.
func (r *renderer) write(start, end int, points []*point) {
	for len(points) > 0 {
		p := points[0]
		inner := 1
		for inner < len(points) && points[inner].start < p.end {
			inner++
		}
		r.out.WriteString(r.src[start:p.start])
		from := r.out.Len()
		r.point(p, points[1:inner])
		r.spans = append(r.spans, span{from, r.out.Len(), p})
		start, points = p.end, points[inner:]
	}
	r.out.WriteString(r.src[start:end])
}

func (r *renderer) point(p *point, inner []*point) {
	printf := func(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }
	own := func() { r.write(p.start, p.end, inner) }
	switch p.kind {
	case boolean:
		printf("(")
		for _, m := range p.alts {
			printf("aigOn(%d) && (%s) || ", m.id, m.text)
		}
		printf("aigOff(%d, %d) && (", p.alts[0].id, p.alts[len(p.alts)-1].id)
		own()
		printf("))")
	case value:
		for _, m := range p.alts {
			printf("aigSelect[%s](%d, func() %s { return %s }, func() %s { return ", p.typ, m.id, p.typ, m.text, p.typ)
		}
		own()
		printf("%s", strings.Repeat(" })", len(p.alts)))
	case insertion:
		for _, m := range p.alts {
			printf(" if aigOn(%d) { %s };", m.id, m.text)
		}
	case statement:
		returns := strings.HasPrefix(r.src[p.start:p.end], "return")
		for i, m := range p.alts {
			if i > 0 && !returns {
				printf(" else ")
			}
			printf("if aigOn(%d) { %s }", m.id, m.text)
			if returns {
				printf("; ")
			}
		}
		if returns {
			own()
			return
		}
		printf(" else { ")
		own()
		printf(" }")
	}
}

// drop leaves out the points in which the type checker found an error: some
// changes are none in Go, such as one that uses what is shadowed. It reports
// whether there was one.
func drop(spans []span, offset int) bool {
	var best *span
	for i := range spans {
		s := &spans[i]
		if s.start <= offset && offset < s.end && (best == nil || s.end-s.start < best.end-best.start) {
			best = s
		}
	}
	if best == nil || best.point.dropped {
		return false
	}
	best.point.dropped = true
	return true
}

// offsetOf is where in the file an error is.
func offsetOf(e types.Error) int { return e.Fset.Position(e.Pos).Offset }
