package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// providerProgram is how this test's binary is called where it is the provider of
// the installed gateway.
const providerProgram = "provider.test"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == providerProgram {
		serveProvider()
	}
	os.Exit(m.Run())
}

// serveProvider answers who has the key that the story installs.
func serveProvider() {
	http.ListenAndServe("127.0.0.1:9000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("authorization") != "Bearer sk-of-the-provider" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("content-type", "application/json")
		io.WriteString(w, `{"id":"1","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`)
	}))
	os.Exit(1)
}

// installedByRoot has dpkg install the package on a throwaway copy of this machine, in
// which systemd is process 1, by the commands of docs/operations.md, and wants the service
// to serve, to be watched, upgraded, removed and purged: testdata/story.sh.
func installedByRoot(t *testing.T, deb string) {
	if problem := canBoot(); problem != "" {
		t.Skip("NOT RUN, the package is installed by nobody here: " + problem)
	}
	dir := folder(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := documentedInstall()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.Mkdir(filepath.Join(dir, "root"), 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755),
		write(filepath.Join(dir, "bin/sudo"), "#!/bin/sh\nexec \"$@\"\n"),
		write(filepath.Join(dir, "bin/sudoedit"), "#!/bin/sh\nsed -i '/^providers:/d' \"$1\"\necho 'providers: {openai: {base_url: \"http://127.0.0.1:9000/v1\", api_key: \"file:/run/credentials/aigateway.service/keys_openai\"}}' >>\"$1\"\n"),
		write(filepath.Join(dir, "commands"), commands),
		copyFile("testdata/story.sh", filepath.Join(dir, "story.sh")), copyFile(self, filepath.Join(dir, providerProgram)), os.Chmod(filepath.Join(dir, providerProgram), 0o755),
		copyFile(deb, filepath.Join(dir, filepath.Base(deb))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	boot := exec.CommandContext(ctx, "sh", "testdata/boot.sh", dir)
	boot.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	boot.Cancel = func() error { return syscall.Kill(-boot.Process.Pid, syscall.SIGKILL) } // with its name spaces
	text, err := boot.CombinedOutput()
	said, _ := os.ReadFile(filepath.Join(dir, "said"))
	if status, _ := os.ReadFile(filepath.Join(dir, "status")); strings.TrimSpace(string(status)) != "0" || !strings.Contains(string(said), "The story is at its end.") {
		t.Errorf("status %q, %v\n%s\n%s", status, err, text, said)
	}
}

// canBoot is what keeps boot.sh from working here, if anything does.
func canBoot() string {
	switch _, err := exec.LookPath("dpkg"); {
	case os.Getuid() != 0:
		return "it takes root"
	case err != nil:
		return "there is no dpkg"
	}
	try := exec.Command("unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "sh", "-ec", `test -x /lib/systemd/systemd && test -n "$(mount -t cgroup2)"
		mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/all && mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/all`)
	if text, err := try.CombinedOutput(); err != nil {
		return "it takes systemd, overlayfs, control groups of version 2 and the right to use them: " + err.Error() + ": " + string(text)
	}
	return ""
}

// documentedInstall are the commands for a service of systemd, for this machine.
func documentedInstall() (string, error) {
	text, err := os.ReadFile("../../docs/operations.md")
	_, section, _ := strings.Cut(string(text), "**A service of systemd**")
	_, section, _ = strings.Cut(section, "```sh\n")
	commands, _, found := strings.Cut(section, "```")
	if err == nil && (!found || !strings.Contains(commands, "dpkg -i aigateway_*_amd64.deb")) {
		err = errors.New("docs/operations.md does not say how to install the package")
	}
	return strings.ReplaceAll(commands, "amd64", runtime.GOARCH), err
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o755) }
