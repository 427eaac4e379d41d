//go:build !linux

package ledger_test

import "errors"

const fsyncEnv = "LEDGER_FSYNC_SOCKET"

// fsyncVictim is of TestFailedFsync, whose way to fail an fsync Linux alone has.
func fsyncVictim() error { return errors.New("fsyncs are only failed on Linux") }
