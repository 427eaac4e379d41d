package pricing

import (
	"cmp"
	"strings"

	"aigateway/budget"
)

// reports are the usage reports of one answer, read.
type reports struct {
	usage         // what the call is charged by: all of them together
	each  []usage // those that may cost more alone; nil where there is one report
	last  bool    // the last one of the answer is among them
}

// texts are the raw reports of an answer, oldest first. Null and {} are none.
func (ev *Evidence) texts() []string {
	list := make([]string, 0, 2)
	add := func(raw string) {
		if isReport(raw) && (len(list) == 0 || list[len(list)-1] != raw) {
			list = append(list, raw)
		}
	}
	add(ev.FirstUsage)
	for _, raw := range ev.OtherUsage {
		add(raw)
	}
	add(ev.Usage)
	return list
}

func (ev *Evidence) hasUsage() bool {
	return isReport(ev.Usage) || isReport(ev.FirstUsage)
}

func isReport(raw string) bool {
	return raw != "null" && strings.Trim(raw, "{} \t\r\n") != ""
}

// read reads every report of an answer. One that cannot be read is passed over,
// unless it is the last: then none is the last word.
func (s *settlement) read() (reports, bool) {
	texts := s.ev.texts()
	var list []usage
	first := false           // list has the first report alone
	last := s.ev.Usage != "" // else there was one that is not here
	lastText, firstText := s.ev.Usage, s.ev.FirstUsage
	begin := "" // what the later reports of a stream are read beside
	for i, raw := range texts {
		s.ev.Usage, s.ev.FirstUsage = raw, "" // readers look at one
		start := s.dialect() == anthropicMessages && s.ev.Stream && i > 0
		switch {
		case start:
			s.ev.FirstUsage = begin // message_start, which is no report of its own beside a later one
			if namesInput(raw) {
				begin = raw // those behind it need not repeat what it says
			}
		case i == 0:
			begin = raw
		}
		u, err := s.pin.read(s.ev)
		if err == nil {
			if start && first {
				list = list[:0]
			}
			first = i == 0
			list = append(list, u)
		} else if i == len(texts)-1 && last {
			s.out.flag(FlagUsageMalformed)
			last = false
		}
	}
	s.ev.Usage, s.ev.FirstUsage = lastText, firstText
	switch len(list) {
	case 0:
		if s.ev.Usage != "" && s.ev.Usage != "null" {
			s.out.flag(FlagUsageMalformed)
		}
		return reports{}, false
	case 1:
		return reports{usage: list[0], last: last}, true
	}
	return reports{usage: together(list), each: list, last: last}, true
}

// together is several reports of one answer as one. All input and all output count
// at their maximum: a report that shrank has not taken anything back. How the
// input splits is what the last one says that says it.
func together(list []usage) usage {
	u := list[len(list)-1]
	if len(u.more) > 0 {
		return u // of several models: each report stands for itself
	}
	var in, out int64
	for i := range list {
		r := &list[i]
		if r.prompt > 0 {
			copy(u.counts[:output], r.counts[:output])
			u.prompt = r.prompt
		}
		in, out = max(in, r.prompt), max(out, r.output())
		u.units = max(u.units, r.units)
		u.seconds = uses{max(u.seconds.n, r.seconds.n), u.seconds.told || r.seconds.told}
		for t := range u.tools {
			u.tools[t] = uses{max(u.tools[t].n, r.tools[t].n), u.tools[t].told || r.tools[t].told}
		}
		u.unpriced, u.inconsistent = u.unpriced || r.unpriced, u.inconsistent || r.inconsistent
		u.cost = max(u.cost, r.cost) // counts where the last one has a bill
		u.tier, u.speed, u.geo = cmp.Or(u.tier, r.tier), cmp.Or(u.speed, r.speed), cmp.Or(u.geo, r.geo)
	}
	u.counts[input] += in - u.prompt
	u.counts[output] += out - u.output()
	u.prompt = in
	return u
}

// output is all output of a part.
func (u *part) output() int64 {
	return u.counts[output] + u.counts[outputAudio] + u.counts[outputImage]
}

// hollow reports whether the counts cannot be true: nothing went in, or nothing
// came out, of a call whose answer has output.
func (s *settlement) hollow(u *usage) bool {
	in, out := u.prompt, u.output()
	for i := range u.more {
		in, out = in+u.more[i].prompt, out+u.more[i].output()
	}
	switch {
	case !s.ev.Output || u.hasCost && u.cost > 0:
		return false
	case s.dialect() == cohereRerank:
		return u.units == 0
	case u.seconds.told && (u.seconds.n == 0 || s.dialect() == openAIMedia):
		return u.seconds.n == 0
	case s.has(pinNoOutput):
		return in == 0
	}
	return in == 0 || out == 0
}

// dearest is the reports at the prices of the models that served them: never
// less than any one of them alone. What the provider bills is not outweighed by
// what earlier counts would come to.
func (s *settlement) dearest(r *reports, of prices) budget.Amount {
	amount := s.cost(&r.usage, of)
	for i := range r.each {
		if r.hasCost && !r.each[i].hasCost {
			continue
		}
		amount = max(amount, s.cost(&r.each[i], of))
	}
	return amount
}
