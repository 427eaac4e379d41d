package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"aigateway/internal/pgtest"
	"aigateway/internal/tcpproxy"
)

// storePair is a PostgreSQL and the standby that its commits wait for, each in one of
// two places whose addresses stay when servers are replaced.
type storePair struct {
	t                *testing.T
	primary, standby *pgtest.Server
	places           [2]string // symbolic links to the servers' sockets
	primaryAt        int       // the primary's place
}

// pairSettings leave room for connections of gateways that were killed or cut off, and
// let servers find each other soon.
func pairSettings() []string {
	return []string{"max_connections = 100", "wal_retrieve_retry_interval = 200ms"}
}

func newStorePair(t *testing.T) *storePair {
	t.Helper()
	p := &storePair{t: t}
	p.primary = pgtest.Start(t, append(pairSettings(), "synchronous_standby_names = '*'")...)
	p.standby = p.primary.Standby(pairSettings()...)
	for i := range p.places {
		p.places[i] = filepath.Join(shortDir(t), "socket")
	}
	p.move(0, p.primary)
	p.move(1, p.standby)
	return p
}

// shortDir is a directory for sockets, whose paths have at most 108 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// move puts a server in a place.
func (p *storePair) move(place int, s *pgtest.Server) {
	p.t.Helper()
	link := p.places[place]
	if err := os.Symlink(s.Socket(), link+".new"); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		p.t.Fatal(err)
	}
}

// network is what lies between a gateway and both servers, and the address there.
func (p *storePair) network() (both [2]*tcpproxy.Proxy, address string) {
	p.t.Helper()
	var dirs [2]string
	for i, place := range p.places {
		dirs[i] = shortDir(p.t)
		both[i] = tcpproxy.New(p.t, "unix", filepath.Join(dirs[i], ".s.PGSQL.5432"), place)
	}
	return both, "postgres://admin@/postgres?host=" + url.QueryEscape(dirs[0]+","+dirs[1])
}

// promote kills the primary, makes the standby one, and returns what makes a new
// standby of it, in the place of the old primary.
func (p *storePair) promote() (heal func()) {
	p.t.Helper()
	p.primary.Kill()
	p.standby.Promote()
	return func() {
		p.t.Helper()
		p.replace(p.standby.Standby(pairSettings()...))
	}
}

// promoteBeside is promote of a primary that stands still: heal lets it go on, beside
// the new one, and kills it so long after.
func (p *storePair) promoteBeside(long time.Duration) (heal func()) {
	p.t.Helper()
	thaw := p.primary.Freeze(nil)
	p.standby.Promote()
	return func() {
		p.t.Helper()
		fresh := p.standby.Standby(pairSettings()...)
		thaw()
		pause(long)
		p.primary.Kill()
		p.replace(fresh)
	}
}

// replace puts fresh, the standby of the promoted one, in the place of the dead primary.
func (p *storePair) replace(fresh *pgtest.Server) {
	p.t.Helper()
	dead := p.primary
	p.move(p.primaryAt, fresh)
	p.primary, p.standby, p.primaryAt = p.standby, fresh, 1-p.primaryAt
	if err := dead.Remove(); err != nil {
		p.t.Error(err)
	}
}

// faulty is three gateways of one store, each behind a network of its own, to which
// everything happens.
type faulty struct {
	gateways
	t        *testing.T
	pair     *storePair
	networks [][2]*tcpproxy.Proxy
	maxStale time.Duration
	rnd      *rand.Rand
	lost     bool // logs that an Envoy had not written: there may be more charged than billed

	mu   sync.Mutex
	caps map[string]int64 // by tag, nano-USD: the highest that was asked for
}

func newFaulty(t *testing.T, rnd *rand.Rand) *faulty {
	t.Helper()
	f := &faulty{t: t, pair: newStorePair(t), maxStale: 5 * time.Second, rnd: rnd, caps: map[string]int64{}}
	for range 3 {
		g := newGateway(t)
		network, address := f.pair.network()
		g.shareStore(address, "synchronous_standby", f.maxStale)
		f.gateways, f.networks = append(f.gateways, g), append(f.networks, network)
		f.supervise(len(f.networks) - 1)
		g.startEnvoy()
		g.waitReady()
	}
	return f
}

// raise sets the cap of a tag at any gateway.
func (f *faulty) raise(tag string, cents int64) {
	f.t.Helper()
	f.mu.Lock()
	f.caps[tag] = cents * 10_000_000
	f.mu.Unlock()
	for deadline := time.Now().Add(2 * time.Minute); ; pause(100 * time.Millisecond) {
		g := f.gateways[f.rnd.IntN(len(f.gateways))]
		r := g.try(http.MethodPost, g.rest+"/v1/budgets", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":%d}`, tag, cents), nil)
		if r.status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			list, err := exec.Command(binary, "replicas", "list", "--config", g.config).CombinedOutput()
			f.t.Fatalf("the cap of %s is not set: %d %s %v\n%s %v", tag, r.status, r.body, r.err, list, err)
		}
	}
}

// watchBill compares the providers' bill with the caps until stop: no tag is billed
// more than its cap, at any time.
func (f *faulty) watchBill() (stop func()) {
	ended, watch := make(chan struct{}), sync.WaitGroup{}
	watch.Go(func() {
		for {
			billed := map[string]int64{}
			for _, g := range f.gateways {
				for tag, b := range g.bills() {
					billed[tag] += b.NanoUSD
				}
			}
			f.mu.Lock()
			for tag, limit := range f.caps {
				if billed[tag] > limit {
					f.t.Errorf("tag %s: billed %d of a cap of %d nano-USD", tag, billed[tag], limit)
				}
			}
			f.mu.Unlock()
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return func() {
		close(ended)
		watch.Wait()
	}
}

// fault is something that happens to gateway number at or to the store, until heal.
type fault struct {
	name    string
	ofStore bool
	begin   func(f *faulty, at int) (heal func())
}

var (
	killsControl = fault{"kill -9 of a control plane", false, func(f *faulty, at int) func() {
		f.gateways[at].program.kill()
		return func() { f.supervise(at) }
	}}
	// killsGateway loses what its Envoy had not written: the ledger may have more than
	// the bill.
	killsGateway = fault{"kill -9 of a gateway and its Envoy", false, func(f *faulty, at int) func() {
		g := f.gateways[at]
		f.lost = true
		g.program.kill()
		g.envoy.kill()
		return func() { f.supervise(at); g.startEnvoy() }
	}}
	freezes = fault{"SIGSTOP of a control plane", false, func(f *faulty, at int) func() {
		p := f.gateways[at].program
		p.freeze()
		return func() {
			if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				f.t.Error(err)
			}
		}
	}}
	partitions = fault{"partition between a gateway and the store", false, func(f *faulty, at int) func() {
		var heal []func()
		how, cut := f.rnd.IntN(3), f.rnd.IntN(2) == 0
		for _, p := range f.networks[at] {
			switch how {
			case 0:
				heal = append(heal, p.Hold(tcpproxy.ToClient))
			case 1:
				heal = append(heal, p.Hold(tcpproxy.ToServer))
			default:
				heal = append(heal, p.Partition())
			}
			if cut {
				heal = append(heal, p.Cut)
			}
		}
		return func() {
			for _, h := range slices.Backward(heal) { // what was held is lost first
				h()
			}
		}
	}}
	killsStore = fault{"kill of a server of the store", true, func(f *faulty, _ int) func() {
		s := f.pair.primary
		if f.rnd.IntN(3) == 0 {
			s = f.pair.standby
		}
		s.Kill()
		return s.Revive
	}}
	freezesStore = fault{"SIGSTOP of the store", true, func(f *faulty, _ int) func() {
		switch f.rnd.IntN(4) {
		case 0:
			return f.pair.standby.Freeze(nil)
		case 1:
			return f.pair.primary.Freeze(nil)
		default: // some of the primary's processes, whatever they hold
			return f.pair.primary.Freeze(func(string) bool { return f.rnd.IntN(3) == 0 })
		}
	}}
	promotes = fault{"promotion of the standby", true, func(f *faulty, _ int) func() {
		if f.rnd.IntN(2) == 0 {
			return f.pair.promoteBeside(time.Duration(f.rnd.IntN(3000)) * time.Millisecond)
		}
		return f.pair.promote()
	}}
)

// supervise starts a control plane again until it serves: it ends at once while its
// store is away.
func (f *faulty) supervise(at int) {
	f.t.Helper()
	g := f.gateways[at]
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); pause(200 * time.Millisecond) {
		p := startProcess(f.t, g.dir, "serve", nil, binary, "serve", "--config", g.config)
		p.wanted.Store(true)
		for !p.ended() && time.Now().Before(deadline) {
			if r := g.try(http.MethodGet, g.rest+"/readyz", "", nil); r.err == nil && r.status == http.StatusOK {
				p.wanted.Store(false)
				g.program = p
				return
			}
			pause(50 * time.Millisecond)
		}
	}
	f.t.Fatalf("the control plane of gateway %d does not start again", at)
}

// callTag makes one call of $0.03 under a tag at gateway number at.
func (f *faulty) callTag(at int, tag string) reply {
	g := f.gateways[at]
	return g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", tag, "fault:out=2950", `,"max_tokens":2950`), tagged(tag))
}

// round lets faults happen, those of the store first, under load from elsewhere and
// with a cap of its own that affords three calls: never more are sent, and in the end
// three were.
func (f *faulty) round(n int, faults ...fault) {
	f.t.Helper()
	tag := fmt.Sprintf("round/%d", n)
	f.raise(tag, 10)
	f.raise("load/0", int64(1+n/3)) // is used up most of the time
	ended, callers := make(chan struct{}), sync.WaitGroup{}
	for at := range f.gateways {
		callers.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(50 * time.Millisecond):
					f.callTag(at, tag)
				}
			}
		})
	}
	pause(time.Duration(f.rnd.IntN(400)) * time.Millisecond)
	at, length := f.rnd.IntN(len(f.gateways)), time.Duration(100+f.rnd.IntN(2000))*time.Millisecond
	if f.rnd.IntN(3) == 0 {
		length += f.maxStale // then nothing is admitted any more
	}
	names, heals := "", []func(){}
	for i, one := range faults {
		where := (at + i) % len(f.gateways)
		names += fmt.Sprintf("%s (%d), ", one.name, where)
		heals = append(heals, one.begin(f, where))
	}
	begun := time.Now()
	pause(length)
	healing := time.Now()
	for _, heal := range heals {
		heal()
	}
	for at, g := range f.gateways {
		eventually(f.t, 2*time.Minute, fmt.Sprintf("gateway %d answers after round %d: %s", at, n, names), func() bool {
			return g.try(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "free", "hello", `,"max_tokens":9`), tagged("free")).status == http.StatusOK
		})
	}
	served := time.Now()
	close(ended)
	callers.Wait()
	eventually(f.t, 2*time.Minute, fmt.Sprintf("the cap of round %d is used: %s", n, names), func() bool {
		for at := range f.gateways {
			f.callTag(at, tag)
		}
		if calls, _ := f.bill(tag); calls == 3 || !f.lost {
			return calls >= 3
		}
		all, err := f.gateways[0].budgets()
		return err == nil && all[tag].reserved == 0 && all[tag].spent > all[tag].cap-30_000_000
	})
	f.t.Logf("round %d: %sfor %v; calls were served %v after, and the cap used %v later", n, names, healing.Sub(begun).Round(time.Millisecond),
		served.Sub(healing).Round(time.Millisecond), time.Since(served).Round(time.Millisecond))
}

// life runs rounds of faults under load, and looks at all that is left.
func (f *faulty) life(rounds [][]fault) {
	f.t.Helper()
	for _, tag := range []string{"load/1", "load/2", "load/3", "load/**"} {
		f.raise(tag, 100_000)
	}
	f.raise("load/0", 1)
	stop := f.watchBill()
	var watch []*sampler
	for _, g := range f.gateways {
		watch = append(watch, g.sample(f.t, 200*time.Millisecond))
	}
	clients := startLoad(6, f.mixedAt)
	for n, faults := range rounds {
		f.round(n, faults...)
	}
	counts := clients.end(f.t)
	expected := []string{"200", "402", "429", "503"}
	if f.lost {
		expected = append(expected, "cut", "truncated")
	}
	wantOnly(f.t, counts, expected...)
	f.settle(afterDeadline)
	for _, g := range f.gateways {
		g.wantNothingHeld(f.t)
	}
	stop()
	for _, w := range watch {
		w.end(f.t)
	}
	f.wantNothingLent(f.t)
	if !f.lost {
		f.wantAlike(f.t)
		return
	}
	budgets, usage := f.gateways[0].mustBudgets(), f.gateways[0].usage()
	for tag, a := range budgets {
		if _, nano := f.bill(tag); a.spent < nano || a.spent > a.cap || usage[tag].nano < nano && tag != "load/**" {
			f.t.Errorf("tag %s: billed %d, usage %d, spent %d, cap %d nano-USD", tag, nano, usage[tag].nano, a.spent, a.cap)
		}
	}
}

// TestFleetFaults lets whole gateways and their PostgreSQL die, freeze, lose sight of
// each other and change places at random, each kind of fault once, or as often as
// E2E_FLEET_FAULTS says, alone and two at a time: no cap is passed at any time, and
// afterwards the books are the bill and nothing is held or lent.
// E2E_FLEET_SEED plays a sequence again.
func TestFleetFaults(t *testing.T) {
	t.Parallel()
	times, seed := uint64(1), uint64(1)
	if os.Getenv("E2E_FLEET_FAULTS") != "" { // a search
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	for name, to := range map[string]*uint64{"E2E_FLEET_FAULTS": &times, "E2E_FLEET_SEED": &seed} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			*to = n
		}
	}
	t.Logf("E2E_FLEET_SEED=%d", seed)
	const perLife = 2 // of each kind: then servers and books begin anew
	for life := uint64(0); times > 0; life++ {
		n := min(times, uint64(perLife))
		times -= n
		t.Run(fmt.Sprint("life", life), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, life))
			kinds := []fault{killsControl, freezes, partitions, killsStore, freezesStore, promotes}
			if life%2 == 1 {
				kinds[0] = killsGateway
			}
			newFaulty(t, rnd).life(roundsOf(rnd, slices.Repeat(kinds, int(n))))
		})
	}
}

// roundsOf puts faults in an order, of which some happen together; those of the store
// do not.
func roundsOf(rnd *rand.Rand, faults []fault) (rounds [][]fault) {
	rnd.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	for i := 0; i < len(faults); i++ {
		round := []fault{faults[i]}
		if i+1 < len(faults) && rnd.IntN(2) == 0 && !(faults[i].ofStore && faults[i+1].ofStore) {
			i++
			round = append(round, faults[i])
			if faults[i].ofStore {
				slices.Reverse(round)
			}
		}
		rounds = append(rounds, round)
	}
	return rounds
}
