package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// before is the commit that is upgraded from: its books have schema 9, those of
// now a later one.
const before = "3764e58d41b5"

// TestUpgradeAndBack goes from one real build to another on the same folder, and
// back by the way of docs/operations.md: the older one leaves books alone that it
// does not know, and goes on from the backup and the log with every call.
func TestUpgradeAndBack(t *testing.T) {
	dir, err := os.MkdirTemp("", "aig-") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	older, newer := buildOf(t, dir, before), buildOf(t, dir, "HEAD")
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "application/json")
		io.WriteString(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`)
	}))
	defer provider.Close()
	clients, rest := freeAddress(t), freeAddress(t)
	config := fmt.Sprintf("listen: {clients: %q, rest: %q, grpc: %q}\ndata_dir: data\nadmin_key: %s\ndrain: {accept: 0s, timeout: 30s}\nproviders: {fake: {base_url: \"%s/v1\", api_key: k}}\nmodels: [{model: fake/m, limits: {context: 1000, max_output: 100}, prices: [{input: \"1\", output: \"1\"}]}]\n",
		clients, rest, freeAddress(t), upgradeKey, provider.URL)
	if err := os.WriteFile(dir+"/aigateway.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// wantCalls starts a build, makes a call, and wants so many in the usage.
	wantCalls := func(binary string, want int) {
		t.Helper()
		cmd := exec.Command(binary, "run", "--config", dir+"/aigateway.yaml")
		cmd.Stdout, cmd.Stderr, cmd.Env = t.Output(), t.Output(), []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, "the gateway", func() error { _, err := ask(http.MethodGet, "http://"+rest+"/readyz", ""); return err })
		await(t, "a call", func() error {
			_, err := ask(http.MethodPost, "http://"+clients+"/v1/chat/completions", `{"model":"fake/m","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`)
			return err
		})
		await(t, "its usage", func() error {
			text, err := ask(http.MethodGet, "http://"+rest+"/v1/usage/by-tag", "")
			if err == nil && !strings.Contains(text, fmt.Sprintf(`"requests":%d,`, want)) {
				err = fmt.Errorf("it is %s, want %d calls", text, want)
			}
			return err
		})
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", binary, err)
		}
	}
	data := dir + "/data"
	wantCalls(older, 1)
	mustRun(t, exec.Command(older, "ledger", "backup", dir+"/before.db", "--data-dir", data))
	wantCalls(newer, 2)
	mustRun(t, exec.Command(newer, "ledger", "check", "--data-dir", data))
	if text, err := exec.Command(older, "run", "--config", dir+"/aigateway.yaml").CombinedOutput(); err == nil || !strings.Contains(string(text), "this program knows") {
		t.Fatalf("the older build on newer books: %v, %s", err, text)
	}
	wantCalls(newer, 3) // nothing was changed
	mustRun(t, exec.Command(older, "ledger", "restore", dir+"/before.db", "--data-dir", data))
	wantCalls(older, 4) // the log tells of both calls since the backup
	mustRun(t, exec.Command(older, "ledger", "check", "--data-dir", data))
}

const upgradeKey = "sk-aig-0123456789abcdefghijklmnop"

// buildOf builds what a commit had.
func buildOf(t *testing.T, dir, commit string) string {
	t.Helper()
	source, binary := filepath.Join(dir, "source-"+commit), filepath.Join(dir, "aigateway-"+commit)
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := exec.Command("git", "archive", commit)
	archive.Dir = "../.."
	unpack := exec.Command("tar", "-x", "-C", source)
	unpack.Stdin, _ = archive.StdoutPipe()
	if err := errors.Join(unpack.Start(), archive.Run(), unpack.Wait()); err != nil {
		t.Fatalf("the sources of %s, which need the repository's history: %v", commit, err)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/aigateway")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	mustRun(t, build)
	mustRun(t, exec.Command(binary, "envoy", "install"))
	return binary
}

func ask(method, url, body string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("authorization", "Bearer "+upgradeKey)
	req.Header.Set("content-type", "application/json")
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}
