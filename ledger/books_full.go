package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"syscall"
)

// Check computes every total again from its rows and compares: what accounts
// spent from settled calls, strays, corrections and what was pruned, what they
// hold from open reservations, the usage reports, and what is sealed. It reads in
// slices that are each of one state, so that a gateway beside it can go on
// checkpointing its journal; that one deletes no old rows meanwhile. It needs
// some 100 bytes of memory for each account and tag.
func (i *Inspector) Check(ctx context.Context) (*Recount, error) {
	c := &fullCheck{i: i, rows: newBooked(), tags: newTouched(), out: &Recount{}}
	err := i.reading(func() error {
		for _, step := range []func(context.Context) error{c.begin, c.readSettled, c.readUsage, c.compareAccounts, c.compareTags} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check the books: %w", err)
	}
	c.out.Rows = c.rows.rows
	return c.out, nil
}

// reading runs f while the gateway deletes nothing.
func (i *Inspector) reading(f func() error) error {
	reads, err := openReads(filepath.Dir(i.path))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return f() // a copy that nobody serves
	}
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(reads.Fd()), syscall.LOCK_SH); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", readsFile, err), reads.Close())
	}
	return errors.Join(f(), reads.Close())
}

// fullCheck is a check of all rows.
type fullCheck struct {
	i      *Inspector
	out    *Recount
	link   int64 // rows has the links up to here
	rows   *booked
	sealed *sealedRows // the part of rows, and of usage, that is sealed
	tags   *touched
}

func (c *fullCheck) begin(ctx context.Context) error {
	return c.i.snapshot(ctx, func(q querier) (err error) {
		if c.sealed, err = readSealedRows(ctx, q); err != nil {
			return err
		}
		return each(ctx, q, `SELECT link FROM head`, nil, func(r *sql.Rows) error { return r.Scan(&c.link) })
	})
}

// readSettled sums the rows up to the link of the start. Later ones follow with
// their links.
func (c *fullCheck) readSettled(ctx context.Context) error {
	link := c.link
	covers := func(_, l int64) bool { return l <= link }
	last, n := int64(math.MinInt64), sliceRows
	for n == sliceRows {
		c.i.between()
		n = 0
		err := eachSettled(ctx, c.i.db, `WHERE rid > ? ORDER BY rid LIMIT ?`, []any{last, sliceRows}, func(r *settledRow) error {
			n++
			last = r.rid
			return errors.Join(c.rows.settled(r, covers), c.sealed.rows.settled(r, c.sealed.seal.covers))
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(
		c.rows.strays(ctx, c.i.db, "", nil, covers), c.rows.adjusts(ctx, c.i.db, "", nil, covers),
		c.sealed.others(ctx, c.i.db))
}

// readUsage sums the usage that hardly changes any more.
func (c *fullCheck) readUsage(ctx context.Context) error {
	err := c.i.eachUsage(ctx, func(bucket int64, tag string, sum *tagSum) {
		c.tags.tags[tag] = true
		c.sealed.addUsage(bucket, tag, sum)
	})
	return errors.Join(err, each(ctx, c.i.db, `SELECT tag FROM usage_tag`, nil, c.tags.scanTag))
}

// slice runs f on one state, with all rows of it.
func (c *fullCheck) slice(ctx context.Context, f func(*counting) error) error {
	for more := true; more; { // few are left for the state
		s, err := nextSpan(ctx, c.i.db, c.link, math.MaxInt64)
		if err == nil {
			err = c.rows.span(ctx, c.i.db, &s)
		}
		if err != nil {
			return err
		}
		c.link, more = s.last, s.full
	}
	c.rows.spread()
	c.i.between()
	return c.i.snapshot(ctx, func(q querier) error {
		few := newBooked()
		if _, err := few.since(ctx, q, c.link); err != nil {
			return err
		}
		few.spread()
		return f(&counting{Recount: c.out, q: q, rows: few})
	})
}

func (c *fullCheck) compareAccounts(ctx context.Context) error {
	all := newTouched()
	err := each(ctx, c.i.db, `SELECT id FROM account`, nil, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		all.accounts[id] = true
		return err
	})
	if err != nil {
		return err
	}
	accounts := slices.Sorted(maps.Keys(all.accounts))
	for first := 0; first == 0 || first < len(accounts); first += compareAtOnce {
		ids := accounts[first:min(first+compareAtOnce, len(accounts))]
		err := c.slice(ctx, func(n *counting) error {
			for _, id := range ids {
				n.rows.accounts[id] += c.rows.accounts[id]
			}
			var err error
			if first == 0 {
				err = n.compareSealed(ctx, c.sealed)
			}
			return errors.Join(err, n.accountsOf(ctx, ids, first == 0))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// compareTags compares the reports of all tags. Where a call of long ago was
// settled meanwhile, the tag's usage is read again in one state.
func (c *fullCheck) compareTags(ctx context.Context) error {
	for tag := range c.rows.tags {
		c.tags.tags[tag] = true
	}
	for tags := range slices.Chunk(slices.Sorted(maps.Keys(c.tags.tags)), compareAtOnce) {
		found := len(c.out.Mismatches)
		err := c.slice(ctx, func(n *counting) error { return c.tagsIn(ctx, n, tags, c.sealed.seal.bucket, c.sealed.seal.tag) })
		if err != nil {
			return err
		}
		again := newTouched()
		for _, m := range c.out.Mismatches[found:] {
			again.tags[m.Tag] = true
		}
		if len(again.tags) == 0 {
			continue
		}
		c.out.Mismatches = c.out.Mismatches[:found]
		err = c.slice(ctx, func(n *counting) error {
			return c.tagsIn(ctx, n, slices.Sorted(maps.Keys(again.tags)), math.MinInt64, "")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tagsIn compares tags, whose usage up to a bucket and a tag is in c.sealed.
func (c *fullCheck) tagsIn(ctx context.Context, n *counting, tags []string, bucket int64, tag string) error {
	list, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	stored, err := usageSince(ctx, n.q, string(list), bucket, tag)
	if err != nil {
		return err
	}
	rows := map[string]*tagSum{}
	for _, t := range tags {
		rows[t] = c.rows.tags[t].plus(n.rows.tags[t])
		stored[t] = stored[t].plus(nil)
		if bucket != math.MinInt64 {
			stored[t] = stored[t].plus(c.sealed.usage[sealedKey{everyMonth, t}])
		}
	}
	n.rows.tags = rows
	return n.readTags(ctx, tagsIn, stored, string(list))
}
