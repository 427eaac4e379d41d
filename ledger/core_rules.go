package ledger

import (
	"iter"
	"slices"
	"time"

	"aigateway/budget"
)

// rule is a budget with its accounts: the window open now and, shortly before
// a rollover, the next one.
type rule struct {
	budget.Budget
	num       int64 // row number
	loc       *time.Location
	cur, next *account
	group     *group
	at        int // index in group.rules
	deleted   bool
	moving    bool // its running window is about to get another end
	// counting: a new budget that has calls but limits none yet. See core.count.
	counting bool
	// running is a window that was open when the zone was edited; zero: none.
	running budget.Window
}

// group is all budgets whose windows change at the same moment.
type group struct {
	period budget.Period
	loc    *time.Location
	rules  []*rule
	end    int64 // of the window last looked at
	cursor int   // rules before it were looked at in this round
	again  int64 // wall time of the next round
}

type groupKey struct {
	period budget.Period
	zone   string
}

// ruleIndex finds the budgets that match a call in a time that depends on the
// call's tag, not on the number of budgets.
type ruleIndex struct {
	byID    map[string]*rule
	ids     []string // sorted, for lists
	target  map[targetKey]*rule
	exact   map[budget.Tag][]*rule
	subtree map[budget.Tag][]*rule
	all     []*rule
	keys    map[string][]*rule
	groups  map[groupKey]*group
}

type targetKey struct {
	budget.Target
	period budget.Period
}

// newRuleIndex has room for n rules.
func newRuleIndex(n int) ruleIndex {
	return ruleIndex{
		byID: make(map[string]*rule, n), target: make(map[targetKey]*rule, n), exact: make(map[budget.Tag][]*rule, n),
		subtree: map[budget.Tag][]*rule{}, keys: map[string][]*rule{}, groups: map[groupKey]*group{},
	}
}

// add indexes r.
func (x *ruleIndex) add(r *rule) {
	x.list(r)
	x.watch(r)
}

// list makes r known by its names. ids stays sorted; a caller that adds many sorts
// once itself.
func (x *ruleIndex) list(r *rule) {
	x.byID[r.ID] = r
	if n := len(x.ids); n == 0 || x.ids[n-1] < r.ID {
		x.ids = append(x.ids, r.ID)
	} else {
		i, _ := slices.BinarySearch(x.ids, r.ID)
		x.ids = slices.Insert(x.ids, i, r.ID)
	}
	x.target[targetKey{r.Target, r.Period}] = r
}

// watch puts the calls that r watches on its accounts from now on.
func (x *ruleIndex) watch(r *rule) {
	edit(x, r.Target, func(rs []*rule) []*rule { return append(rs, r) })
	x.join(r)
}

func (x *ruleIndex) remove(r *rule) {
	delete(x.byID, r.ID)
	if i, ok := slices.BinarySearch(x.ids, r.ID); ok {
		x.ids = slices.Delete(x.ids, i, i+1)
	}
	delete(x.target, targetKey{r.Target, r.Period})
	edit(x, r.Target, func(rs []*rule) []*rule {
		return slices.DeleteFunc(slices.Clone(rs), func(o *rule) bool { return o == r })
	})
	x.leave(r)
}

// edit replaces the list of rules that watch t.
func edit(x *ruleIndex, t budget.Target, f func([]*rule) []*rule) {
	put := func(m map[budget.Tag][]*rule, k budget.Tag) {
		if m[k] = f(m[k]); len(m[k]) == 0 {
			delete(m, k)
		}
	}
	switch root, isTree := t.Tags.Subtree(); {
	case t.KeyID != "":
		if x.keys[t.KeyID] = f(x.keys[t.KeyID]); len(x.keys[t.KeyID]) == 0 {
			delete(x.keys, t.KeyID)
		}
	case t.Tags == budget.AllTags:
		x.all = f(x.all)
	case isTree:
		put(x.subtree, root)
	default:
		put(x.exact, budget.Tag(t.Tags))
	}
}

func (x *ruleIndex) join(r *rule) {
	k := groupKey{r.Period, r.Zone}
	g := x.groups[k]
	if g == nil {
		g = &group{period: r.Period, loc: r.loc}
		x.groups[k] = g
	}
	r.group, r.at = g, len(g.rules)
	g.rules = append(g.rules, r)
}

func (x *ruleIndex) leave(r *rule) {
	g := r.group
	last := g.rules[len(g.rules)-1]
	g.rules[r.at], last.at = last, r.at
	g.rules[len(g.rules)-1] = nil
	if g.rules = g.rules[:len(g.rules)-1]; len(g.rules) == 0 {
		delete(x.groups, groupKey{r.Period, r.Zone})
	}
}

// watching yields the rules that watch a call with this tag and key, in lists.
// It is the one place that knows what watches what, besides edit, which indexes,
// and core.running, which asks the other way round.
func (x *ruleIndex) watching(tag budget.Tag, key string) iter.Seq[[]*rule] {
	return func(yield func([]*rule) bool) {
		if !yield(x.all) || len(x.keys) > 0 && !yield(x.keys[key]) || !yield(x.exact[tag]) || len(x.subtree) == 0 {
			return
		}
		for i := range len(tag) {
			if tag[i] == '/' && !yield(x.subtree[tag[:i]]) {
				return
			}
		}
		yield(x.subtree[tag])
	}
}

// match appends the accounts of every budget that watches a call with this
// tag and key, in the windows that are open at wall.
func (c *core) match(buf []*account, tag budget.Tag, key string, wall int64) []*account {
	for rules := range c.rules.watching(tag, key) {
		for _, r := range rules {
			buf = append(buf, c.account(r, wall))
		}
	}
	return buf
}

// peek is r's account at wall, nil if the window has none yet.
func (r *rule) peek(wall int64) *account {
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil && wall >= a.start && wall < a.end {
			return a
		}
	}
	return nil
}

// account is r's account at wall, opened if the window is new.
func (c *core) account(r *rule, wall int64) *account {
	if r.cur != nil && wall < r.cur.end {
		return r.cur
	}
	old, next := r.cur, r.next
	r.cur, r.next = r.peek(wall), nil
	if r.cur == nil {
		start, end := r.window(wall)
		if old != nil && start <= old.start {
			// The calendar says that old goes on: it had another end in mind when
			// old was opened, by other zone data. A window has one account.
			old.end, old.moved, r.cur = end, true, old
			c.want(old)
		} else {
			r.cur = c.newAccount(r, start, end)
			if old != nil {
				r.cur.pace = old.pace
			}
		}
	}
	for _, a := range [...]*account{old, next} {
		if a != nil {
			c.forget(a) // if it is not the current one
		}
	}
	return r.cur
}

// window returns the borders of r's window at wall, in ns.
func (r *rule) window(wall int64) (start, end int64) {
	if w := r.running; !w.Start.IsZero() && w.Contains(time.Unix(0, wall)) {
		return w.Start.UnixNano(), w.End.UnixNano()
	}
	return windowAt(r.Period, r.loc, wall)
}

// windowAt returns the window's borders in ns.
func windowAt(p budget.Period, loc *time.Location, wall int64) (start, end int64) {
	w := p.WindowAt(time.Unix(0, wall), loc)
	if w.End.IsZero() {
		return w.Start.UnixNano(), forever
	}
	return w.Start.UnixNano(), w.End.UnixNano()
}

const (
	// rolloverLead is how long before a window's end the next one gets its
	// account and mark, so that its first call need not wait for a commit.
	rolloverLead = 60 * second
	// rolloverEvery spaces the rounds that look for budgets in use.
	rolloverEvery = 5 * second
)

// prepare opens the next windows of budgets in use. It looks at no more than
// limit budgets of a group, because admission waits meanwhile.
func (c *core) prepare(at instant, limit int) {
	wall := at.wall
	for _, g := range c.rules.groups {
		if g.end <= wall {
			_, g.end = windowAt(g.period, g.loc, wall)
			g.cursor, g.again = 0, 0
		}
		if g.end == forever || g.end-wall > rolloverLead || wall < g.again {
			continue
		}
		stop := min(len(g.rules), g.cursor+limit)
		for ; g.cursor < stop; g.cursor++ {
			r := g.rules[g.cursor]
			// An idle budget gets its next window when it is first used.
			if r.moving || r.next != nil || r.cur == nil || r.cur.end != g.end || r.cur.used() == 0 {
				continue
			}
			start, end := windowAt(g.period, g.loc, g.end)
			r.next = c.newAccount(r, start, end)
			r.next.pace = r.cur.pace
			r.next.active = at.mono + start - wall // idle from its start, not yet
		}
		if g.cursor >= len(g.rules) {
			g.cursor, g.again = 0, wall+rolloverEvery
		}
	}
}

// status is r as users see it: queued settlements count as done, because they
// will be within a twentieth of a second.
func (c *core) status(r *rule, wall int64) *budget.Status {
	st := &budget.Status{Budget: r.Budget}
	start, end := int64(0), int64(0)
	if a := r.peek(wall); a != nil {
		start, end = a.start, a.end
		all := a.everywhere()
		st.Spent, st.Reserved = all.spent, all.reserved
	} else {
		start, end = r.window(wall)
	}
	st.Window.Start = time.Unix(0, start).In(r.loc)
	if end != forever {
		st.Window.End = time.Unix(0, end).In(r.loc)
	}
	return st
}

// room is what a's limit leaves once the queued events are durable.
func (a *account) room() budget.Amount { return a.limit - (a.used() - a.falling) }
