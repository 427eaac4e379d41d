package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"aigateway/accounting"
	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/extauthz"
	"aigateway/gatewayconfig"
	"aigateway/ledger"
	"aigateway/metricset"
	"aigateway/pricing"
	"aigateway/telemetry"
	"aigateway/webui"
)

// controlPlane is every part of the gateway but Envoy, wired together, and the
// Envoy it runs as its child if it does.
type controlPlane struct {
	cfg       *gatewayconfig.Config
	log       *slog.Logger
	metrics   *prometheus.Registry
	withEnvoy bool
	stopping  atomic.Bool // it drains: not ready any more
	adminKey  string
	auth      visitors // at the page and the API; Envoy's calls know keys alone

	shared  *shared // nil: alone
	ledger  *ledger.Ledger
	catalog atomic.Pointer[pricing.Catalog]
	betas   atomic.Pointer[map[string][]string] // by provider: what of anthropic-beta it may get
	xds     *gatewayconfig.Server
	watcher *gatewayconfig.Watcher
	spool   *accounting.Spool

	providers *accounting.Providers
	presets   atomic.Pointer[map[string]string] // by provider
	telemetry *telemetry.Exporter
	refused   *refusedCounts
	origins   *accounting.Origins
	admin     *adminapi.Server

	control                 *grpc.Server // for Envoy
	rest                    *http.Server // for clients, through Envoy or directly
	controlL, restL, adminL net.Listener
	envoy                   *envoy.Process // nil before Run and without withEnvoy
	envoyLog                *os.File
	stopSpool               context.CancelFunc // nil before Run
	spoolDone               chan struct{}
}

// newControlPlane opens the ledger, which also recovers what a crash left, and
// binds every port, so that what can fail at start fails before Envoy runs.
// Close releases it.
func newControlPlane(ctx context.Context, a *app, cfg *gatewayconfig.Config, withEnvoy bool) (*controlPlane, error) {
	// What is fixed outlives what is reloaded: the first prices must not stay in
	// memory.
	fixed := *cfg
	fixed.Catalog = nil
	c := &controlPlane{cfg: &fixed, log: a.log, metrics: prometheus.NewRegistry(), withEnvoy: withEnvoy, spoolDone: make(chan struct{})}
	set := metricset.New(c.metrics)
	set.Add(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c.catalogMetrics(set, a.now)
	err := set.Done()
	if err == nil {
		err = c.open(ctx, a, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *controlPlane) open(ctx context.Context, a *app, cfg *gatewayconfig.Config) error {
	// The data directory holds the money and the keys: nobody else reads it.
	err := os.MkdirAll(c.cfg.DataDir, 0o700)
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	err = c.warnIfOpen()
	if err != nil {
		return err
	}
	err = c.openLedger(ctx, a, cfg)
	if err != nil {
		return err
	}
	var created bool
	c.adminKey, created, err = loadAdminKey(c.cfg.AdminKey.Reveal(), c.cfg.DataDir)
	if err != nil {
		return err
	}
	if created {
		a.notef("The admin key is in %s/%s; the commands on this machine use it by themselves.", c.cfg.DataDir, adminKeyFile)
	}
	c.xds, err = gatewayconfig.NewServer(gatewayconfig.ServerConfig{Log: a.log, Metrics: c.metrics})
	if err != nil {
		return err
	}
	c.watcher, err = gatewayconfig.NewWatcher(gatewayconfig.WatcherConfig{
		Config: c.cfg, Getenv: a.getenv, Log: a.log, Metrics: c.metrics, OnChange: c.apply,
	})
	if err != nil {
		return err
	}
	err = c.apply(ctx, cfg)
	if err != nil {
		return err
	}
	issuer, err := c.issuer(a)
	if err != nil {
		return err
	}
	c.auth = visitors{c.authenticator(), issuer}
	err = c.listen()
	if err != nil {
		return err
	}
	return c.servers(a)
}

// openLedger opens the ledger, and joins the store of the configuration.
func (c *controlPlane) openLedger(ctx context.Context, a *app, cfg *gatewayconfig.Config) error {
	config := ledger.Config{
		Dir: c.cfg.DataDir, Now: a.now, HoldTimeout: c.cfg.ReservationTimeout, Zone: c.cfg.TimeZone,
		Retention: time.Duration(c.cfg.Retention.CallsDays) * 24 * time.Hour, UsageMonths: int(c.cfg.Retention.UsageMonths),
		WaitBytes: waitBytes(c.cfg),
		Log:       a.log, Metrics: c.metrics,
	}
	var err error
	if c.cfg.Store.Set() {
		c.shared, err = newShared(cfg.Store.Postgres.Reveal(), cfg)
		if err != nil {
			return err
		}
		config.Lessor, config.MaxStale = c.shared, c.cfg.Store.MaxStale
	}
	c.ledger, err = ledger.Open(ctx, config)
	if err != nil {
		return fmt.Errorf("open the ledger in %s: %w", c.cfg.DataDir, err)
	}
	if c.shared != nil {
		return c.joinStore(ctx, a)
	}
	if c.ledger.AppliedVersion() > 0 {
		return fmt.Errorf("the ledger in %s has its budgets from a store, and no longer knows what other gateways spend; set store again, or choose another data_dir", c.cfg.DataDir)
	}
	return nil
}

// joinStore joins the store. One that is away is no reason not to start: calls get 503
// until it is there, which Run waits for.
func (c *controlPlane) joinStore(ctx context.Context, a *app) error {
	err := c.shared.prepare(a, c)
	if err == nil {
		err = c.shared.join(ctx, c.ledger)
	}
	if err != nil && mayGo(err) && ctx.Err() == nil {
		c.log.Error("the store cannot be reached; no call is admitted until it can be", "error", err)
		return nil
	}
	return err
}

// warnIfOpen reports a data directory that others may enter. It is no error:
// the volumes of containers often are, with nobody else there.
func (c *controlPlane) warnIfOpen() error {
	info, err := os.Stat(c.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		c.log.Warn("other users may enter the data directory, which holds the keys and the journal; close it with chmod 700",
			"data_dir", c.cfg.DataDir, "mode", fmt.Sprintf("%04o", mode))
	}
	return nil
}

// apply puts what can be reloaded into force. At a reload the routes go first,
// and prices follow once every Envoy has them: a call to a new provider is then
// never admitted before it can be sent. On an error nothing changes.
func (c *controlPlane) apply(ctx context.Context, cfg *gatewayconfig.Config) error {
	onThisMachine := *cfg
	onThisMachine.EnvoyMemory = envoyMemory(cfg)
	onThisMachine.Envoy.Concurrency = cmp.Or(cfg.Envoy.Concurrency, int64(runtime.NumCPU()))
	snapshot, err := gatewayconfig.Render(&onThisMachine, cfg.Listen.REST)
	if err != nil {
		return fmt.Errorf("render the Envoy configuration: %w", err)
	}
	err = c.rollOut(ctx, snapshot)
	if err != nil {
		return err
	}
	betas, presets := map[string][]string{}, map[string]string{}
	for _, p := range cfg.Providers {
		betas[p.Name], presets[p.Name] = p.AllowedBetas, p.Preset
	}
	c.betas.Store(&betas)
	c.presets.Store(&presets)
	c.catalog.Store(cfg.Catalog)
	return nil
}

// answerWithin is how long Envoy's answer to a configuration is waited for.
const answerWithin = 10 * time.Second

// rollOut returns Envoy's rejection if there is one. An Envoy that does not
// answer is not waited for: it gets the configuration when it does.
func (c *controlPlane) rollOut(ctx context.Context, snapshot *gatewayconfig.Snapshot) error {
	limited, stop := context.WithTimeout(ctx, answerWithin)
	defer stop()
	err := c.xds.Apply(limited, snapshot)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		c.log.Warn("no answer from Envoy to the new configuration yet", "version", snapshot.Version(), "waited", answerWithin)
		return nil
	}
	return err
}

func (c *controlPlane) listen() error {
	var err error
	c.controlL, err = listenControl(c.cfg.Listen, c.log)
	if err != nil {
		return err
	}
	c.restL, err = listen("listen.rest", c.cfg.Listen.REST)
	if err != nil {
		return err
	}
	c.adminL, err = listen("listen.grpc", c.cfg.Listen.GRPC)
	if err != nil {
		return err
	}
	c.restL = secured(c.restL, c.cfg.Listen.AdminTLS, "http/1.1", c.log)
	c.adminL = secured(c.adminL, c.cfg.Listen.AdminTLS, "h2", c.log)
	return nil
}

// listen binds an address of the configuration. A socket file is replaced only where
// nobody listens any more: the ledger's lock proves that of this data directory's
// gateway, but the path may be another's.
func listen(field, address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; free the port or set another", field, err)
		}
		return l, nil
	}
	before, err := os.Lstat(path)
	if err == nil && before.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s: %s is there and is no socket; move it away or set another path", field, path)
	}
	if err == nil {
		other, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			_ = other.Close() // nothing was sent
			return nil, fmt.Errorf("%s: another process listens at %s; stop it or set another path", field, path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: whether another process listens cannot be told: %w; remove %s if none does, or set another path", field, err, path)
		}
	}
	err = os.Remove(path) // what a gateway left that was killed
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return l, nil
}

// servers makes them. None of them answers before Run.
func (c *controlPlane) servers(a *app) error {
	sealer, err := envoy.NewSealer(c.ledger.TokenKey())
	if err != nil {
		return err
	}
	answers := accounting.NewAnswers()
	c.origins, err = accounting.OpenOrigins(filepath.Join(c.cfg.DataDir, fileOrigins), a.log)
	if err != nil {
		return err
	}
	refusals := extauthz.NewRefusals(a.now())
	decided, ended, err := c.openTelemetry()
	if err != nil {
		return err
	}
	c.refused = &refusedCounts{refusals: refusals, ledger: c.ledger, shared: c.shared.orNil(), log: a.log}
	check, err := extauthz.New(extauthz.Config{
		Told: decided,
		Keys: c.auth.authenticator, Ledger: c.ledger, Catalog: c.catalog.Load, Sealer: sealer,
		Now: a.now, Log: a.log, Metrics: c.metrics,
		Betas:      func(provider string) []string { return (*c.betas.Load())[provider] },
		BodyMemory: bodyMemory(""),
		Settled:    answers,
		Origins:    c.origins,
		Refusals:   refusals,
		MaxWait:    c.cfg.MaxWait, MinInsertedCap: c.cfg.MinInsertedCap,
	})
	if err != nil {
		return err
	}
	ratios, err := accounting.NewRatios(c.metrics)
	if err != nil {
		return err
	}
	c.providers, err = accounting.NewProviders(c.metrics, a.log)
	if err != nil {
		return err
	}
	logs := accounting.Config{Told: ended, Providers: c.providers, Ledger: c.ledger, Sealer: sealer, Catalog: c.catalog.Load, Now: a.now, Log: a.log, Metrics: c.metrics, Ratios: ratios, Answers: answers, Origins: c.origins}
	c.spool, err = accounting.NewSpool(logs, accounting.File{
		Path: spoolPath(c.cfg),
		Reopen: func(ctx context.Context) error {
			return envoy.NewAdmin(c.cfg.Listen.EnvoyAdmin).Post(ctx, "/reopen_logs")
		},
	})
	if err != nil {
		return err
	}
	stream, err := accounting.NewStream(logs)
	if err != nil {
		return err
	}

	secure, err := controlCredentials(c.cfg.Listen.ControlTLS, a.log)
	if err != nil {
		return err
	}
	c.control = grpc.NewServer(append(wire.ServerOptions(), secure...)...)
	check.Register(c.control)
	stream.Register(c.control)
	c.xds.Register(c.control)
	healthpb.RegisterHealthServer(c.control, health.NewServer())

	admin := adminapi.Config{
		Auth: c.auth, Calls: c.ledger, Refusals: refusals, Refused: c.refused, Reservations: c.ledger, State: c.ledger,
		Providers: func() []budget.ProviderState { return c.providers.Lately(time.Now()) },
		Explainer: explainer{c.catalog.Load, c.ledger.Tightest, c.ledger.Defaults, c.ledger.Watched, answers.Tokens, logs.Ratios.Of, a.now},
		Catalog:   c.models(a.now), Now: c.ledger.Now, Zone: c.cfg.TimeZone, Ready: c.conditions,
		Gatherer: c.metrics, Metrics: c.metrics, Log: a.log,
	}
	c.admin, err = adminapi.New(*c.stores(&admin))
	if err != nil {
		return err
	}
	return c.restServer(a)
}

func (c *controlPlane) restServer(a *app) error {
	page := webui.Config{Auth: c.auth, REST: c.admin.REST(), Now: c.ledger.Now, Issuer: c.auth.issuer, Sessions: filepath.Join(c.cfg.DataDir, fileSessions)}
	if c.shared != nil {
		page.Store = c.shared.store
	}
	pages, err := webui.New(page)
	if err != nil {
		return err
	}
	c.rest = &http.Server{
		Handler: pages, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	c.rest.RegisterOnShutdown(pages.Close)
	return nil
}

// fileSessions keeps who is signed in at the page.
const fileSessions = "sessions"

// fileOrigins remembers who made responses that providers store.
const fileOrigins = "responses"

// conditions is what /readyz says, part by part.
func (c *controlPlane) conditions() []adminapi.Condition {
	var spool error
	if !c.spool.CaughtUp() {
		spool = errors.New("the access-log file is not read to its end yet")
	}
	// An Envoy of others may start after us, and may wait for our readiness.
	config := adminapi.Condition{Name: "envoy_config"}
	if c.withEnvoy || !c.xds.Alone() {
		config.Err = c.xds.Ready()
	}
	if config.Err == nil && !c.xds.Alone() {
		config.Warning = c.xds.Lagging()
	}
	var stopping error
	if c.stopping.Load() {
		stopping = errors.New("the gateway is stopping")
	}
	store := adminapi.Condition{Name: "store"}
	if c.shared != nil {
		store.Err, store.Warning = c.shared.unready(), c.shared.fleet.Problem() // what that means for calls, the ledger says
	}
	return []adminapi.Condition{
		{Name: "stopping", Err: stopping},
		{Name: "ledger", Err: c.ledger.Ready()},
		store,
		{Name: "spool", Err: spool},
		{Name: "envoy", Err: c.envoyReady()},
		config,
		// The last good configuration serves: refusing traffic would help nobody.
		{Name: "config_file", Warning: c.watcher.LastError()},
		{Name: "providers", Warning: c.providers.Failing(time.Now())},
		{Name: "certificates", Warning: expiry(c.cfg.Listen, time.Now())},
	}
}

func (c *controlPlane) envoyReady() error {
	if !c.withEnvoy {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return envoy.NewAdmin(c.cfg.Listen.EnvoyAdmin).Ready(ctx)
}

// waitReady polls the conditions until none fails or ctx ends.
func (c *controlPlane) waitReady(ctx context.Context) error {
	for {
		var waiting error
		for _, condition := range c.conditions() {
			if condition.Err != nil {
				waiting = fmt.Errorf("%s: %w", condition.Name, condition.Err)
				break
			}
		}
		if waiting == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", waiting)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Run serves until ctx ends or a part fails; Close must follow, and tells of a
// failed ledger, which is no error here.
func (c *controlPlane) Run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	// The spool outlives ctx: what Envoy logs while it drains is money.
	spoolCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stopSpool = stop
	go func() {
		defer close(c.spoolDone)
		err := c.spool.Run(spoolCtx)
		if err != nil {
			c.log.Error("reading the access-log file ended", "error", err)
		}
	}()
	if c.shared != nil && !c.shared.follow(ctx, c.log) {
		parts.Go(func() error { return c.shared.joinAtLast(ctx, c) })
	}
	go serveUntilClosed(c.log, "control", func() error { return c.control.Serve(c.controlL) })
	go serveUntilClosed(c.log, "grpc", func() error { return c.admin.GRPC().Serve(c.adminL) })
	go serveUntilClosed(c.log, "rest", func() error { return c.rest.Serve(c.restL) })
	parts.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ledger.Stopped():
			return errLedger
		}
	})
	parts.Go(func() error { return c.watcher.Run(ctx) })
	parts.Go(func() error { return c.refused.run(ctx) })
	if c.withEnvoy {
		err := c.startEnvoy(ctx)
		if err != nil {
			return err
		}
		parts.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-c.envoy.Done():
				return c.envoy.Err()
			}
		})
	}
	err := parts.Wait()
	if errors.Is(err, errLedger) {
		return nil
	}
	return err
}

// errLedger ends Run when the ledger has failed. Close says why.
var errLedger = errors.New("the ledger stopped")

// startEnvoy starts the child, once everything it talks to answers.
func (c *controlPlane) startEnvoy(ctx context.Context) error {
	path, err := envoy.Find(c.cfg.Envoy.Path)
	if err != nil {
		return err
	}
	text, err := renderBootstrap(c.cfg)
	if err != nil {
		return err
	}
	bootstrap := filepath.Join(c.cfg.DataDir, envoy.FileBootstrap)
	err = os.WriteFile(bootstrap, text, 0o600)
	if err != nil {
		return fmt.Errorf("write the bootstrap: %w", err)
	}
	c.envoyLog, err = os.OpenFile(filepath.Join(c.cfg.DataDir, envoy.FileLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open envoy's log: %w", err)
	}
	c.envoy, err = envoy.Start(envoy.ProcessConfig{
		Path: path, BootstrapPath: bootstrap, AdminAddress: c.cfg.Listen.EnvoyAdmin,
		Concurrency: int(c.cfg.Envoy.Concurrency), Output: c.envoyLog, Log: c.log,
	})
	return err
}

// serveUntilClosed runs a server that Close stops.
func serveUntilClosed(log *slog.Logger, name string, serve func() error) {
	err := serve()
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
		log.Error("listener ended", "listener", name, "error", err)
	}
}
