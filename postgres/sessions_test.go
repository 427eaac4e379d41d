package postgres_test

import (
	"bytes"
	"time"
)

// testSessions keeps sessions until their end, ends one once, and keeps no more than ten
// thousand.
func testSessions(w *world) {
	ctx := w.Context()
	now := time.Unix(1_800_000_000, 0)
	keep := func(hash string, lasts time.Duration) {
		w.Helper()
		if err := w.store.KeepSession(ctx, hash, []byte("sealed "+hash), now, now.Add(lasts)); err != nil {
			w.Fatal(err)
		}
	}
	has := func(hash string) bool {
		w.Helper()
		text, ends, err := w.store.Session(ctx, hash)
		if err != nil || text != nil && (!bytes.Equal(text, []byte("sealed "+hash)) || !ends.After(now)) {
			w.Fatalf("%s: %q until %v, %v", hash, text, ends, err)
		}
		return text != nil
	}
	keep("short", time.Minute)
	keep("long", time.Hour)
	if !has("short") || !has("long") || has("other") {
		w.Error("what is kept is not there, or more")
	}
	for i, want := range []bool{true, false} {
		if was, err := w.store.EndSession(ctx, "long"); err != nil || was != want {
			w.Errorf("the end %d: %v, %v", i, was, err)
		}
	}
	keep("long", time.Hour)
	now = now.Add(time.Minute)
	keep("next", time.Hour)
	if !has("long") || !has("next") {
		w.Error("a session ended before its time")
	}
	if was, err := w.store.EndSession(ctx, "short"); err != nil || was {
		w.Errorf("one whose time is over is kept: %v, %v", was, err)
	}
	w.exec(`INSERT INTO aig_session SELECT 'n' || n, $1::bigint + n, 'sealed' FROM generate_series(1, 10000) n`, now.Add(2*time.Hour).UnixNano())
	keep("last", 3*time.Hour)
	if has("next") || !has("last") {
		w.Error("of more than ten thousand those that end first stay")
	}
	var n int
	if err := w.db.QueryRow(ctx, `SELECT count(*) FROM aig_session`).Scan(&n); err != nil || n != 10_000 {
		w.Errorf("%d are kept, %v", n, err)
	}
}
