package ledger

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"aigateway/budget"
)

// maxMade is how many budgets are made in one step: admission waits while the
// running calls are looked through for each.
const maxMade = 256

// ApplyRules makes the budgets and keys of a store those of this ledger: all of them,
// what is not named goes; or what changed since the rules that are in force. They are
// durable and obeyed on return; keys that are gone and lower caps count at once. A budget
// that is new here begins with what its target has cost here and the calls that run, and
// limits nothing while it counts. The same rules again change nothing; older ones than
// those applied are refused.
func (l *Ledger) ApplyRules(ctx context.Context, rules budget.Rules) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	if applied := l.rulesVersion.Load(); rules.Version < applied {
		return fmt.Errorf("version %d of the budgets and keys is older than version %d, which is in force", rules.Version, applied)
	} else if rules.Since != 0 && rules.Since != applied {
		return fmt.Errorf("what changed since version %d of the budgets and keys does not follow version %d, which is in force", rules.Since, applied)
	}
	if err := l.applyKeys(ctx, &rules); err != nil {
		return err
	}
	if err := l.applyBudgets(ctx, &rules); err != nil {
		return err
	}
	version := query{sql: `INSERT INTO meta (name, value) VALUES ('rules', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, args: []any{int64(rules.Version)}}
	if err := l.edit(ctx, []query{version}, nil); err != nil {
		return err
	}
	l.rulesVersion.Store(rules.Version)
	return nil
}

// AppliedVersion is the version of the last ApplyRules that returned without an
// error, over restarts; 0: there was none.
func (l *Ledger) AppliedVersion() uint64 { return l.rulesVersion.Load() }

// applyBudgets lets budgets go, changes others and makes new ones, in this order: a
// new one may have the target of one that goes. The caller holds admin.
func (l *Ledger) applyBudgets(ctx context.Context, rules *budget.Rules) error {
	named := make(map[string]bool, len(rules.Budgets))
	var gone, changed, made []ruleEdit
	for i := range rules.Budgets {
		b := &rules.Budgets[i]
		loc, err := b.Check()
		if err != nil {
			return fmt.Errorf("budget %s: %w", b.ID, err)
		}
		named[b.ID] = true
		b.CreateTime, b.UpdateTime = asStored(b.CreateTime), asStored(b.UpdateTime)
		e := ruleEdit{next: b.Budget, loc: loc, counting: b.Counting}
		l.mu.Lock()
		e.rule = l.core.rules.byID[b.ID]
		if e.rule != nil {
			e.rule.running = b.Running
		}
		l.mu.Unlock()
		switch {
		case e.rule == nil:
			made = append(made, e)
			made[len(made)-1].rule = &rule{Budget: b.Budget, loc: loc, running: b.Running}
		case e.rule.Target != b.Target || e.rule.Period != b.Period:
			return budget.Invalid("field_immutable", "target", "target and period of budget "+b.ID+" cannot change")
		case e.rule.Budget != b.Budget || e.rule.counting && !b.Counting:
			changed = append(changed, e)
		}
	}
	l.mu.Lock()
	missing := rules.Gone
	if rules.Since == 0 {
		missing = l.core.rules.ids
	}
	for _, id := range missing {
		if r := l.core.rules.byID[id]; r != nil && !named[id] {
			gone = append(gone, ruleEdit{rule: r, deleted: true})
		}
	}
	l.mu.Unlock()
	return l.applyParts(ctx, gone, changed, made)
}

// asStored is t as it is read from the database.
func asStored(t time.Time) time.Time { return time.Unix(0, t.UnixNano()).UTC() }

func (l *Ledger) applyParts(ctx context.Context, gone, changed, made []ruleEdit) error {
	parts := func(edits []ruleEdit, f func([]ruleEdit) error) error {
		for len(edits) > 0 {
			n := min(len(edits), maxMade)
			if err := f(edits[:n]); err != nil {
				return err
			}
			edits = edits[n:]
		}
		return nil
	}
	err := parts(gone, func(part []ruleEdit) error {
		return l.applyEdits(ctx, part, func(e *ruleEdit) []query {
			return []query{{sql: `DELETE FROM budget WHERE num = ?`, args: []any{e.rule.num}}}
		})
	})
	if err != nil {
		return err
	}
	err = parts(changed, func(part []ruleEdit) error {
		return l.applyEdits(ctx, part, func(e *ruleEdit) []query {
			b := &e.next
			return []query{{sql: `UPDATE budget SET cap = ?, zone = ?, default_max_tokens = ?, default_max_tool_calls = ?, create_time = ?, update_time = ?, counting = ? WHERE num = ?`,
				args: []any{int64(b.Cap), b.Zone, b.DefaultMaxTokens, b.DefaultMaxToolCalls, b.CreateTime.UnixNano(), b.UpdateTime.UnixNano(), boolInt(e.rule.counting && e.counting), e.rule.num}}}
		})
	})
	if err != nil {
		return err
	}
	return parts(made, func(part []ruleEdit) error {
		for i := range part {
			l.lastRule++
			part[i].rule.num = l.lastRule
		}
		return l.makeRules(ctx, part)
	})
}

// applyKeys makes keys the ledger's. The caller holds admin.
func (l *Ledger) applyKeys(ctx context.Context, rules *budget.Rules) error {
	keys := rules.Keys
	named := make(map[string]bool, len(keys))
	var queries []query
	var set []*keyEntry
	for i := range keys {
		e := &keyEntry{Key: keys[i].Key, hash: keys[i].Hash}
		if err := e.Check(); err != nil {
			return fmt.Errorf("key %s: %w", e.ID, err)
		}
		named[e.ID] = true
		e.CreateTime = e.CreateTime.UTC()
		q, err := keySQL("INSERT OR REPLACE", e)
		if err != nil {
			return err
		}
		if old := l.keys.get(e.ID); old != nil {
			was, err := keySQL("INSERT OR REPLACE", old)
			if err != nil {
				return err
			}
			if reflect.DeepEqual(was.args, q.args) {
				continue
			}
		}
		queries, set = append(queries, q), append(set, e)
	}
	missing := rules.Gone
	if rules.Since == 0 {
		missing = l.keys.list()
	}
	for _, id := range missing {
		if !named[id] && l.keys.remove(id) {
			queries = append(queries, query{sql: `DELETE FROM key WHERE id = ?`, args: []any{id}})
		}
	}
	if len(queries) == 0 {
		return nil
	}
	return l.edit(ctx, queries, func() {
		for _, e := range set {
			l.keys.remove(e.ID)
			l.keys.add(e)
		}
	})
}
