package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/postgres/local"
)

// fleetDemo is several gateways that share one PostgreSQL, each a process of its
// own with an Envoy of its own.
type fleetDemo struct {
	a        *app
	dir      string // of everything but the database
	gateways []*demoGateway
	provider string
	envoy    string
	database string // its address
	key      string
}

type demoGateway struct {
	story
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// demoReplicas tells the story of one cap at several gateways.
func (a *app) demoReplicas(ctx context.Context, replicas int, exit bool) (err error) {
	started := a.now()
	d := &fleetDemo{a: a, key: budget.KeyPrefix + "demo-" + strings.ToLower(rand.Text())}
	d.envoy, err = a.demoEnvoy(ctx)
	if err != nil {
		return err
	}
	d.dir, err = os.MkdirTemp("", "aigateway-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	defer os.RemoveAll(d.dir)
	db, err := a.demoDatabase(ctx)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, db.Stop(), db.Remove()) }()
	d.database = db.URL("admin")
	provider, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the fake provider: %w", err)
	}
	d.provider = provider.Addr().String()
	ctx, stop := context.WithCancel(ctx)
	var providerDone sync.WaitGroup
	providerDone.Go(func() {
		if err := demoProvider().Serve(ctx, provider); err != nil {
			a.log.Error("the fake provider ended", "error", err)
		}
	})
	defer providerDone.Wait()
	defer stop()
	defer d.stop()
	for i := range replicas {
		err = d.add(ctx, i)
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stdout, "%d aigateways are up, each on a real Envoy, with one PostgreSQL between them and a fake provider behind them (%.1f s)\n", replicas, a.now().Sub(started).Seconds())
	err = d.tell(ctx)
	if err != nil || exit {
		if err == nil {
			fmt.Fprintln(a.stdout, "\nEvery step did what it should.")
		}
		return err
	}
	fmt.Fprintf(a.stdout, "\nNow you: export KEY=%s\n", d.key)
	for _, g := range d.gateways {
		fmt.Fprintf(a.stdout, "  curl %s/v1/budgets -H \"authorization: Bearer $KEY\"\n", g.base)
	}
	fmt.Fprintf(a.stdout, "  bin/aigateway replicas list --config %s\nServing until Ctrl-C.\n", filepath.Join(d.gateways[0].dir, "aigateway.yaml"))
	<-ctx.Done()
	return nil
}

// demoDatabase starts a PostgreSQL, which it installs if it must.
func (a *app) demoDatabase(ctx context.Context) (*local.Server, error) {
	bin, err := local.Install(ctx, a.stderr)
	if err != nil {
		return nil, err
	}
	s, err := local.New(bin)
	if err != nil {
		return nil, err
	}
	err = s.Init(ctx)
	if err == nil {
		err = s.Serve(ctx, "max_connections = 100")
	}
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

// add configures and starts the gateway i, from 0.
func (d *fleetDemo) add(ctx context.Context, i int) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	g := &demoGateway{dir: filepath.Join(d.dir, fmt.Sprint(i+1))}
	g.story = story{out: d.a.stdout, base: "http://" + ports[0], key: d.key, page: "http://" + ports[1]}
	err = os.Mkdir(g.dir, 0o700)
	if err != nil {
		return fmt.Errorf("make a gateway's directory: %w", err)
	}
	text := fmt.Sprintf(`listen: {clients: %q, rest: %q, grpc: %q}
data_dir: data
admin_key: %s
store: {postgres: %q, durability: single_node, max_stale: 5s}
drain: {accept: 0s, timeout: 10s}
envoy: {path: %q, concurrency: 1}
providers:
  moonshot: {base_url: "http://%s/v1", api_key: sk-fake}
`, ports[0], ports[1], ports[2], d.key, d.database, d.envoy, d.provider)
	err = os.WriteFile(filepath.Join(g.dir, "aigateway.yaml"), []byte(text), 0o600)
	if err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	d.gateways = append(d.gateways, g)
	return g.start(ctx)
}

// start runs the gateway and returns when it is ready.
func (g *demoGateway) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open a gateway's log: %w", err)
	}
	defer log.Close()
	g.cmd = exec.Command(self, "run", "--config", filepath.Join(g.dir, "aigateway.yaml"))
	g.cmd.Stdout, g.cmd.Stderr, g.done = log, log, make(chan struct{})
	err = g.cmd.Start()
	if err != nil {
		return fmt.Errorf("start a gateway: %w", err)
	}
	done, cmd := g.done, g.cmd
	go func() {
		_ = cmd.Wait() // its log says why it ended
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		res, err := g.at(ctx, g.page+"/readyz")
		if err == nil && res == http.StatusOK {
			return nil
		}
		select {
		case <-done:
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
			continue
		}
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("a gateway did not become ready:\n%s", said)
	}
}

// at is the status of a resource that needs no key.
func (g *demoGateway) at(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// end sends a signal and waits for the end.
func (g *demoGateway) end(s syscall.Signal) {
	_ = g.cmd.Process.Signal(s) // it may have ended
	select {
	case <-g.done:
	case <-time.After(30 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.done
	}
}

// stop ends all gateways, in order if they let it.
func (d *fleetDemo) stop() {
	var all sync.WaitGroup
	for _, g := range d.gateways {
		if g.cmd != nil && g.cmd.Process != nil {
			all.Go(func() { g.end(syscall.SIGTERM) })
		}
	}
	all.Wait()
}

// tell runs the steps in order and stops at the first that did not do what it
// should.
func (d *fleetDemo) tell(ctx context.Context) error {
	first, second, last := d.gateways[0], d.gateways[1%len(d.gateways)], d.gateways[len(d.gateways)-1]
	for i, step := range []struct {
		title string
		run   func() error
	}{
		{`Cap the tag "summarize" at ten cents a month, at the first gateway.`, func() error { return d.setCap(ctx, first, 10) }},
		{"60 calls of three cents each, at all gateways at once: three fit the cap.", func() error { return d.rush(ctx, 3) }},
		{"Each gateway tells the same.", func() error { return d.compare(ctx) }},
		{"The second gateway is killed (-9). Another ten cents, set at the last one, are for those that live.", func() error {
			second.end(syscall.SIGKILL)
			err := d.setCap(ctx, last, 20)
			if err == nil {
				_, err = d.call(ctx, first)
			}
			return err
		}},
		{"The second gateway starts again on its files, and each tells the same.", func() error {
			err := second.start(ctx)
			if err == nil {
				err = d.compare(ctx)
			}
			return err
		}},
	} {
		fmt.Fprintf(d.a.stdout, "\n%d. %s\n", i+1, step.title)
		err := step.run()
		if err != nil {
			return fmt.Errorf("demo step %d (%s): %w", i+1, strings.TrimSuffix(step.title, "."), err)
		}
	}
	return nil
}

func (d *fleetDemo) setCap(ctx context.Context, g *demoGateway, cents int) error {
	body := fmt.Sprintf(`{"tag":"summarize","monthly_cap_cents":%d}`, cents)
	status, answer, err := g.post(ctx, "/v1/budgets", body)
	if err != nil {
		return err
	}
	g.show("POST "+g.base+"/v1/budgets "+body, status, shortened(answer))
	return expect(status, http.StatusOK, answer, &struct{}{})
}

// dearBody asks for an answer of 7,400 tokens, which the fake provider writes.
const dearBody = `{"model":"` + demoModel + `","max_tokens":7400,"messages":[{"role":"user","content":"Write at length. fault:out=7400"}]}`

// call makes one call, and comes again as long as it is told to.
func (d *fleetDemo) call(ctx context.Context, g *demoGateway) (int, error) {
	for {
		status, answer, err := g.post(ctx, "/v1/chat/completions", dearBody)
		if err != nil {
			return 0, err
		}
		switch status {
		case http.StatusOK, http.StatusPaymentRequired:
			return status, nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		default:
			return status, fmt.Errorf("status %d: %s", status, answer)
		}
		select {
		case <-ctx.Done():
			return status, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// rush makes 60 calls at once, of which want are to be answered.
func (d *fleetDemo) rush(ctx context.Context, want int) error {
	const calls = 60
	fmt.Fprintf(d.a.stdout, "   POST /v1/chat/completions %s\n", dearBody)
	counts := make([]map[int]int, len(d.gateways))
	var mu sync.Mutex
	var failed error
	var all sync.WaitGroup
	for i := range calls {
		g := i % len(d.gateways)
		all.Go(func() {
			status, err := d.call(ctx, d.gateways[g])
			mu.Lock()
			defer mu.Unlock()
			if counts[g] == nil {
				counts[g] = map[int]int{}
			}
			counts[g][status]++
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	answered := 0
	for g, c := range counts {
		answered += c[http.StatusOK]
		fmt.Fprintf(d.a.stdout, "   -> gateway %d: %d answered, %d refused with 402\n", g+1, c[http.StatusOK], c[http.StatusPaymentRequired])
	}
	if failed == nil && answered != want {
		failed = fmt.Errorf("%d calls were answered, want %d", answered, want)
	}
	return failed
}

// compare waits until every gateway tells the same of the budget and of usage, and
// nothing runs any more.
func (d *fleetDemo) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		told, alike, err := d.told(ctx)
		if err != nil {
			return err
		}
		if alike {
			for i, g := range d.gateways {
				fmt.Fprintf(d.a.stdout, "   GET %s/v1/budgets, /v1/usage/by-tag\n   -> %s\n", g.base, told[i])
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the gateways did not agree in 30 s: %s", strings.Join(told, " | "))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (d *fleetDemo) told(ctx context.Context) (told []string, alike bool, err error) {
	alike = true
	for _, g := range d.gateways {
		var list struct {
			Budgets []struct{ Cap, Spent, Reserved string }
		}
		var rows json.RawMessage
		for path, to := range map[string]any{"/v1/budgets": &list, "/v1/usage/by-tag": &rows} {
			status, answer, err := g.get(ctx, path)
			if err == nil {
				err = expect(status, http.StatusOK, answer, to)
			}
			if err != nil {
				return nil, false, err
			}
		}
		if len(list.Budgets) != 1 {
			return nil, false, fmt.Errorf("%d budgets, want one", len(list.Budgets))
		}
		b := list.Budgets[0]
		told = append(told, fmt.Sprintf("cap $%s, spent $%s, reserved $%s; %s", b.Cap, b.Spent, b.Reserved, rows))
		alike = alike && len(rows) > len("[]") && told[0] == told[len(told)-1] && strings.Trim(b.Reserved, "0.") == ""
	}
	return told, alike, nil
}

// demoEnvoy finds or installs Envoy.
func (a *app) demoEnvoy(ctx context.Context) (string, error) {
	path, err := envoy.Find("")
	if errors.Is(err, envoy.ErrNotFound) {
		return envoy.Install(ctx, a.stderr)
	}
	return path, err
}
