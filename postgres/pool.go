package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// conn is a connection that counts what the server tells unasked.
type conn struct {
	*pgx.Conn
	notices atomic.Int64
	used    bool            // it has served a transaction
	pooler  *pgx.ConnConfig // the way to a pooler that is in between; nil: there is none
}

// drop gives the connection up without a word to the server.
func (c *conn) drop() { _ = c.PgConn().Conn().Close(); go c.Conn.Close(context.Background()) }

const (
	// connectTimeout is how long a server may take to answer that is there, and again
	// to say how it is set, unless the address has a connect_timeout.
	connectTimeout = 5 * time.Second
	// headStart is how long a server is waited for alone, before the next one of the
	// address is asked as well: the first may swallow packets.
	headStart = 300 * time.Millisecond
)

// servers are those that url names, each with its ways to connect, as with TLS and without.
func servers(url *pgx.ConnConfig) (out []*pgx.ConnConfig) {
	ways := append([]*pgconn.FallbackConfig{{Host: url.Host, Port: url.Port, TLSConfig: url.TLSConfig}}, url.Fallbacks...)
	for _, w := range ways {
		if n := len(out) - 1; n >= 0 && out[n].Host == w.Host && out[n].Port == w.Port {
			out[n].Fallbacks = append(out[n].Fallbacks, w)
			continue
		}
		one := url.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = w.Host, w.Port, w.TLSConfig, nil
		out = append(out, one)
	}
	return out
}

// connect opens a connection to the first server that answers, may be written to and
// keeps it.
func (s *Store) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		server int
		c      *conn
		err    error
	}
	answers := make(chan answer, len(s.servers))
	errs := make([]error, len(s.servers))
	for asked, open := 0, 0; asked < len(s.servers) || open > 0; {
		var next <-chan time.Time
		if asked < len(s.servers) {
			server := asked
			go func() {
				c, err := s.connectTo(ctx, s.servers[server])
				answers <- answer{server, c, err}
			}()
			asked, open, next = asked+1, open+1, time.After(headStart)
		}
		select {
		case a := <-answers:
			if open--; a.err != nil {
				errs[a.server] = a.err
				break
			}
			go func() { // who comes second is not needed
				for range open {
					if a := <-answers; a.c != nil {
						a.c.drop()
					}
				}
			}()
			return a.c, nil
		case <-next:
		}
	}
	return nil, errors.Join(errs...)
}

func (s *Store) connectTo(ctx context.Context, server *pgx.ConnConfig) (*conn, error) {
	c := &conn{}
	url := server.Copy()
	url.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { c.notices.Add(1) }
	// pgx asks the server to cancel what a connection was doing when it gives it up. A
	// commit that waits for a standby would then be made visible without it.
	dial, done := url.DialFunc, atomic.Bool{}
	url.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if done.Load() {
			return nil, errors.New("nothing is cancelled")
		}
		return dial(ctx, network, address)
	}
	var err error
	if c.Conn, err = pgx.ConnectConfig(ctx, url); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	done.Store(true)
	ctx, cancel := context.WithTimeout(ctx, url.ConnectTimeout)
	defer cancel()
	state, err := readServer(ctx, c.Conn)
	if err != nil {
		c.drop()
		return nil, fmt.Errorf("ask the database about itself: %w", err)
	}
	if state.pid != state.told {
		c.pooler = server
	}
	if problems := state.unsafe(s.config.Durability); len(problems) > 0 {
		c.drop()
		return nil, fmt.Errorf("the database would lose commits: %s", strings.Join(problems, "; "))
	}
	return c, nil
}

// pool is a number of connections that are opened when they are needed: by itself, so
// that whoever waited in vain leaves one to those who come later.
//
// pgxpool is not enough. It asks the next server of an address only once the one before has
// been silent for all of its connectTimeout (TestStore/silent_server). And there, whoever
// opens a connection waits for that one, though another one is given back meanwhile: where
// the store is slow, longer than a transaction may take (TestStore/round_trips).
type pool struct {
	connect func(context.Context) (*conn, error)
	life    context.Context // until close
	end     context.CancelFunc
	idle    chan *conn
	free    chan struct{} // one for each that may be opened
}

func (s *Store) newPool(n int) *pool {
	p := &pool{connect: s.connect, idle: make(chan *conn, n), free: make(chan struct{}, n)}
	p.life, p.end = context.WithCancel(context.Background())
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// take waits until there is a connection, or opening one fails. It is given to put, or
// to lose.
func (p *pool) take(ctx context.Context) (*conn, error) {
	var opening chan error // by us
	for {
		free := p.free
		if opening != nil {
			free = nil
		}
		var c *conn
		select {
		case c = <-p.idle: // rather than opening another one
		default:
			select {
			case c = <-p.idle:
			case <-free:
				opening = make(chan error, 1)
				go p.open(opening)
				continue
			case err := <-opening:
				if err != nil {
					return nil, err
				}
				opening = nil // somebody else was faster to take it
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for a connection to the database: %w", ctx.Err())
			}
		}
		if !c.IsClosed() {
			return c, nil
		}
		p.lose(c)
	}
}

func (p *pool) open(opened chan<- error) {
	c, err := p.connect(p.life)
	if err != nil {
		p.free <- struct{}{}
	} else {
		p.put(c)
	}
	opened <- err
}

func (p *pool) put(c *conn) {
	p.idle <- c
	if p.life.Err() != nil {
		p.drain()
	}
}

func (p *pool) lose(c *conn) {
	c.drop()
	p.free <- struct{}{}
}

// close ends the connections, those that are used when they are given back.
func (p *pool) close() {
	p.end()
	p.drain()
}

func (p *pool) drain() {
	for {
		select {
		case c := <-p.idle:
			p.lose(c)
		default:
			return
		}
	}
}
