package tcpproxy

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Direction is where bytes go.
type Direction int

const (
	ToServer Direction = iota
	ToClient
)

// Proxy passes connections on. Its methods may be called concurrently.
type Proxy struct {
	dial  func() (net.Conn, error)
	delay atomic.Int64 // ns, each way

	mu    sync.Mutex
	links []*link
	// apart is closed when a partition ends; nil: there is none.
	apart    chan struct{}
	releases []func()
	wg       sync.WaitGroup
}

// link is one connection. What is held back stays on its way, also when the client
// has gone.
type link struct {
	client, server net.Conn
	mu             sync.Mutex
	held           [2]chan struct{} // closed when bytes may pass
}

// New listens on address and passes on to target, both of network ("tcp", "unix"),
// until the test ends.
func New(t testing.TB, network, address, target string) *Proxy {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{dial: func() (net.Conn, error) { return net.Dial(network, target) }}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.heal()
		for _, release := range p.releases {
			release()
		}
		p.Cut()
		p.wg.Wait()
	})
	return p
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	apart := p.apart
	p.mu.Unlock()
	if apart != nil {
		<-apart
	}
	server, err := p.dial()
	if err != nil {
		client.Close()
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	p.links = append(p.links, l)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); p.pass(l, client, server, ToServer) }()
	p.pass(l, server, client, ToClient)
	<-done
	client.Close()
	server.Close()
	p.mu.Lock()
	p.links = slices.DeleteFunc(p.links, func(o *link) bool { return o == l })
	p.mu.Unlock()
}

// piece is what was read at once, and when.
type piece struct {
	data []byte
	at   time.Time
}

// pass copies from one end to the other. An end that takes nothing any more does not
// stop what the first one says.
func (p *Proxy) pass(l *link, from, to net.Conn, d Direction) {
	pieces := make(chan piece, 64) // on their way
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			if n > 0 {
				pieces <- piece{buf[:n], time.Now()}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range pieces {
		time.Sleep(time.Until(piece.at.Add(time.Duration(p.delay.Load()))))
		l.await(d)
		_, _ = to.Write(piece.data)
	}
	l.await(d)
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
}

// await returns when bytes may pass in d.
func (l *link) await(d Direction) {
	l.mu.Lock()
	held := l.held[d]
	l.mu.Unlock()
	if held != nil {
		<-held
	}
}

// Delay makes everything take so long in each direction, from now on.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Hold holds back what goes in d on the connections of now, until release is called.
// Later connections pass.
func (p *Proxy) Hold(d Direction) (release func()) {
	gate := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	held := slices.Clone(p.links)
	for _, l := range held {
		l.mu.Lock()
		l.held[d] = gate
		l.mu.Unlock()
	}
	release = sync.OnceFunc(func() {
		for _, l := range held {
			l.mu.Lock()
			l.held[d] = nil
			l.mu.Unlock()
		}
		close(gate)
	})
	p.releases = append(p.releases, release)
	return release
}

// Partition holds back everything in both directions, new connections too.
func (p *Proxy) Partition() (heal func()) {
	p.mu.Lock()
	p.apart = make(chan struct{})
	p.mu.Unlock()
	one, other := p.Hold(ToServer), p.Hold(ToClient)
	return func() { one(); other(); p.heal() }
}

func (p *Proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apart != nil {
		close(p.apart)
		p.apart = nil
	}
}

// Cut closes the connections of now; what was held back on them is lost.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.client.Close()
		l.server.Close()
	}
}
