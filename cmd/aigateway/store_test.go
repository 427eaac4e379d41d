package main

import (
	"strings"
	"testing"

	"aigateway/internal/pgtest"
)

// TestStoreCheckSaysWhatIsWrong asks a real server, with settings of connections.
func TestStoreCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	check := func(url string, args ...string) result {
		return runCLI(t, nil, append([]string{"store", "check", "--postgres", "file:" + writeFile(t, "address", url), "--durability", "single_node"}, args...)...)
	}
	if r := check(s.URL("admin")); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "nothing is wrong") {
		t.Errorf("%+v", r)
	}
	if r := check(s.URL("admin"), "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"problems": []`) {
		t.Errorf("%+v", r)
	}
	if r := check(s.URL("admin", "synchronous_commit", "off")); r.code != exitError ||
		!strings.Contains(r.stdout, "synchronous_commit is off") || !strings.Contains(r.stderr, "would not do") {
		t.Errorf("%+v", r)
	}
}

// TestStoreCheckAsksForWhatItNeeds refuses what would be guessed, and quotes no
// password.
func TestStoreCheckAsksForWhatItNeeds(t *testing.T) {
	file := writeFile(t, "address", "postgres://u:hush@127.0.0.1:1/db\n")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--durability", "single_node"}, exitUsage, "--postgres is missing"},
		{[]string{"--postgres", "postgres://localhost/db"}, exitUsage, `--durability is ""`},
		{[]string{"--postgres", "postgres://localhost/db", "--durability", "raid"}, exitUsage, `--durability is "raid"`},
		{[]string{"--postgres", "file:" + file, "--durability", "single_node"}, exitError, "connect to the database"},
		{[]string{"--postgres", "file:" + file + ".gone", "--durability", "single_node"}, exitError, "read --postgres"},
		{[]string{"--postgres", "file:/dev/null", "--durability", "single_node"}, exitError, "must have one line"},
	} {
		r := runCLI(t, nil, append([]string{"store", "check"}, tc.args...)...)
		wantError(t, r, tc.code, tc.want)
		if strings.Contains(r.stderr, "hush") {
			t.Errorf("%q: the password is in %s", tc.args, r.stderr)
		}
	}
}
