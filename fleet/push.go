package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"aigateway/budget"
)

// placeFile says up to where the store was told of usage. Without it all is told
// again, which changes nothing: totals are absolute.
const placeFile = "store-place"

// pushRows is how many rows of usage are told at once.
const pushRows = 2000

type place struct {
	path string
	upTo uint64
}

func openPlace(dir string) (place, error) {
	p := place{path: filepath.Join(dir, placeFile)}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read what the store was told: %w", err)
	}
	if json.Unmarshal(text, &p.upTo) != nil {
		p.upTo = 0 // torn by a power loss
	}
	return p, nil
}

func (p *place) set(upTo uint64) error {
	p.upTo = upTo
	err := os.WriteFile(p.path+".new", fmt.Appendln(nil, upTo), 0o600)
	if err == nil {
		err = os.Rename(p.path+".new", p.path)
	}
	if err != nil {
		return fmt.Errorf("note what the store was told: %w", err)
	}
	return nil
}

// push tells the store the usage that changed since it was last told, to its end; all of
// it, where the store has lost something.
func (f *Fleet) push(ctx context.Context) error {
	f.pushing.Lock()
	defer f.pushing.Unlock()
	m, err := f.member()
	if err != nil {
		return err
	}
	if lost := f.c.Store.LostCommits(); lost != f.lost {
		f.lost, f.place.upTo = lost, 0 // usage may be lost, too
	}
	folds := f.folds.Load()
	if folds == nil {
		folds, err = f.learnFolds(ctx)
	}
	for learnt := false; err == nil; {
		var rows []budget.UsageTotal
		var upTo uint64
		rows, upTo, err = f.c.Ledger.UsageSince(ctx, f.place.upTo, pushRows, *folds)
		if err != nil {
			return err
		}
		err = m.PushUsage(ctx, rows, folds.Upto())
		if errors.Is(err, budget.ErrUsageFolded) && !learnt {
			learnt = true
			folds, err = f.learnFolds(ctx)
			continue
		}
		if err != nil {
			return err
		}
		f.metrics.pushed.Add(float64(len(rows)))
		if upTo != f.place.upTo {
			err = f.place.set(upTo)
		}
		summed := slices.ContainsFunc(rows, func(r budget.UsageTotal) bool { return r.Next != 0 }) // there were more than these
		if err != nil || len(rows) < pushRows && !summed {
			return err
		}
	}
	return err
}

// learnFolds asks the store what usage it keeps by the day.
func (f *Fleet) learnFolds(ctx context.Context) (*budget.UsageFolds, error) {
	own, err := f.c.Ledger.UsageFolds(ctx)
	if err != nil {
		return nil, err
	}
	folds, err := f.c.Store.UsageFolds(ctx, own)
	if err != nil {
		return nil, err
	}
	f.c.Ledger.FollowFolds(folds)
	f.folds.Store(&folds)
	return &folds, nil
}

// fold lets the store add up some old usage, if no other gateway does, and the ledger
// here do likewise.
func (f *Fleet) fold(ctx context.Context) error {
	more, err := f.c.Store.FoldUsage(ctx)
	if err != nil {
		return err
	}
	if more {
		select {
		case f.folding <- struct{}{}:
		default:
		}
	}
	_, err = f.learnFolds(ctx)
	return err
}
