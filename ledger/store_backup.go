package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"aigateway/budget"
)

// Backup writes a copy of the database as of one moment to file, which must not
// exist, while the gateway runs or not. The copy holds secrets (the key that
// signs reservations, the hashes of API keys): only its owner may read it. It
// is durable on return. What only grows is copied in slices before that moment,
// so that the gateway can go on checkpointing its journal.
func (i *Inspector) Backup(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; name a file that does not", file)
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create backup: %w", err)
	}
	if err := i.reading(func() error { return i.copyTo(ctx, part) }); err != nil {
		return errors.Join(fmt.Errorf("copy database: %w", err), f.Close(), os.Remove(part))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil { // SQLite does not sync the copy
		return errors.Join(fmt.Errorf("write backup: %w", err), os.Remove(part))
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes renames in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Restored is what a restore did.
type Restored struct {
	Taken  time.Time     // the newest moment that the backup knows
	Epoch  uint64        // the new one
	Aside  string        // where the database that was there is now; empty: none
	Held   budget.Amount // over all budgets, what their caps leave
	Budget int           // budgets whose current window is held up to its cap
}

// Restore replaces the database of dir by the backup in file, whose copy it
// checks first. Calls that the backup does not know may have been charged since
// it was taken, so every budget's current window is held up to its cap; late
// logs settle against that, Release frees it, and after HoldTimeout it is
// charged. Budgets and keys are as they were: a key deleted since is valid again.
//
// It fails while a gateway uses dir. The database that was there is kept. A
// directory that it made does not stay where it fails.
func Restore(ctx context.Context, config Config, file string) (*Restored, error) {
	config.setDefaults()
	_, err := os.Stat(config.Dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := takeLock(config.Dir)
	if err != nil {
		return nil, err
	}
	out := &Restored{}
	err = install(ctx, config.Dir, file, config.Now(), out)
	if err != nil && made { // a typo leaves nothing behind
		err = errors.Join(err, os.RemoveAll(config.Dir))
	}
	if err := errors.Join(err, lock.release()); err != nil {
		return nil, err
	}
	config.AcceptRollback, config.rollBack = true, true
	config.keepAll()
	l, err := Open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open restored ledger: %w", err)
	}
	out.Epoch = l.core.epoch
	held := map[int64]budget.Amount{}
	l.mu.Lock()
	for _, a := range l.core.pools {
		if a.end > l.core.wall {
			held[a.id] = a.orphan
			out.Held += a.orphan
			out.Budget++
		}
	}
	l.mu.Unlock()
	note, err := noteRestored(held)
	if err != nil {
		return nil, errors.Join(err, l.Close(ctx))
	}
	audit := l.audit(budget.Author{Actor: "aigateway"}, "restore", databaseFile, map[string]any{"backup_of": out.Taken.Format(time.RFC3339Nano), "epoch": out.Epoch, "held_nano_usd": int64(out.Held)})
	l.admin.Lock()
	err = l.edit(ctx, []query{audit, note}, nil)
	l.admin.Unlock()
	return out, errors.Join(err, l.Close(ctx))
}

// keepAll keeps a command, which does not know how long the gateway keeps what
// happened, from deleting or folding any of it.
func (c *Config) keepAll() { c.Retention, c.UsageMonths = 100*365*24*time.Hour, 1200 }

// install puts a checked copy of file in place of dir's database. The caller
// holds the lock of dir.
func install(ctx context.Context, dir, file string, now time.Time, out *Restored) error {
	path := filepath.Join(dir, databaseFile)
	part := path + ".restoring"
	err := copyFile(part, file)
	if err != nil {
		_ = os.Remove(part) // as much as there is of it; the error says what is wrong
		return fmt.Errorf("copy backup: %w", err)
	}
	if err := checkBackup(ctx, part, dir, out); err != nil {
		return errors.Join(fmt.Errorf("%s cannot be restored: %w", file, err), os.Remove(part))
	}
	if _, err := os.Stat(path); err == nil {
		out.Aside = path + ".before-restore-" + now.UTC().Format("20060102T150405.000000000")
		for _, suffix := range []string{"-wal", "-shm", ""} { // SQLite finds the journal by its name
			err := os.Rename(path+suffix, out.Aside+suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("put the old database aside: %w", err)
			}
		}
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("put the backup in place: %w", err)
	}
	return syncDir(dir)
}

// checkBackup refuses a damaged file, one of another program, and one of
// another gateway than the one of dir.
func checkBackup(ctx context.Context, part, dir string, out *Restored) error {
	i, err := inspectFile(ctx, part)
	if err != nil {
		return err
	}
	defer i.Close()
	var result, instance string
	var wall int64
	if err := i.db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&result); err != nil {
		return fmt.Errorf("check backup: %w", err)
	}
	if result != "ok" {
		return fmt.Errorf("the backup is damaged: %s", result)
	}
	if err := i.db.QueryRowContext(ctx, `SELECT (SELECT value FROM meta WHERE name = 'instance'), coalesce((SELECT value FROM meta WHERE name = 'wall'), 0)`).Scan(&instance, &wall); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	out.Taken = time.Unix(0, wall).UTC()
	now, err := Inspect(ctx, dir)
	if err != nil {
		return nil // none there, or one that cannot be read: the reason to restore
	}
	defer now.Close()
	var current string
	if err := now.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'instance'`).Scan(&current); err == nil && current != instance {
		return fmt.Errorf("the backup is of another gateway (%s, here is %s); restore it into a data directory of its own", instance, current)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return cmp.Or(err, fmt.Errorf("%s is no regular file", from))
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
