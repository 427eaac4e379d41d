package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client is one kept-alive connection that sends one request after the other, with
// as little work as possible: it shares the machine.
type client struct {
	conn   net.Conn
	in     *bufio.Reader
	agents *agents
}

func dial(address string, a *agents) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 8<<10), agents: a}, nil
}

// errUnavailable is a 503: the gateway could not decide in time, and says so.
var errUnavailable = errors.New("503")

// call makes one call. Anything but a 200 is an error: refusals are cheap and
// would flatter.
func (c *client) call() error {
	one, err := c.agents.send(c.conn)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	defer c.agents.answered(one)
	status, err := c.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	length, chunked := -1, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch {
		case strings.EqualFold(name, "content-length"):
			length, err = strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				return fmt.Errorf("content-length: %w", err)
			}
		case strings.EqualFold(name, "transfer-encoding"):
			chunked = true
		}
	}
	if chunked && strings.Contains(status, " 200 ") {
		if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(c.in)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		_, err := c.in.Discard(len("\r\n")) // where trailers would stand
		return err
	}
	if length < 0 {
		return fmt.Errorf("an answer without content-length: %s", status)
	}
	if !strings.Contains(status, " 200 ") {
		body := make([]byte, length)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if strings.Contains(status, " 503 ") {
			return errUnavailable
		}
		return fmt.Errorf("%s: %s", strings.TrimSpace(status), body)
	}
	_, err = c.in.Discard(length)
	return err
}

// saturate makes calls from n connections for d and returns how many were
// answered, and how many were not.
func saturate(ctx context.Context, address string, a *agents, n int, d time.Duration) (answered, unavailable int, err error) {
	var total, refused atomic.Int64
	end := time.Now().Add(d)
	err = onClients(ctx, address, a, n, func(_ int, c *client) error {
		for time.Now().Before(end) && ctx.Err() == nil {
			err := c.call()
			switch {
			case errors.Is(err, errUnavailable):
				refused.Add(1)
			case err != nil:
				return err
			default:
				total.Add(1)
			}
		}
		return ctx.Err()
	})
	return int(total.Load()), int(refused.Load()), err
}

// openLoop starts calls at the load's rate, whether or not earlier ones have been
// answered, and returns the latencies from the time each should have started, sorted.
func openLoop(ctx context.Context, address string, a *agents, d time.Duration) ([]time.Duration, error) {
	rate := a.load.rate
	total := int(float64(rate) * d.Seconds())
	gap := time.Second / time.Duration(rate)
	var next atomic.Int64
	var mu sync.Mutex
	latencies := make([]time.Duration, 0, total)
	start := time.Now().Add(50 * time.Millisecond)
	err := onClients(ctx, address, a, 64, func(_ int, c *client) error {
		for {
			i := int(next.Add(1) - 1)
			if i >= total {
				return nil
			}
			due := start.Add(time.Duration(i) * gap)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(due)):
			}
			if err := c.call(); err != nil && !errors.Is(err, errUnavailable) {
				return err
			}
			took := time.Since(due)
			mu.Lock()
			latencies = append(latencies, took)
			mu.Unlock()
		}
	})
	slices.Sort(latencies)
	return latencies, err
}

// onClients runs f on n connections and returns the first error.
func onClients(ctx context.Context, address string, a *agents, n int, f func(i int, c *client) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		c, err := dial(address, a)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() }) // unblocks a read
		wg.Go(func() {
			defer stop()
			defer c.conn.Close()
			errs[i] = f(i, c)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// percentile of sorted values; 0 without any.
func percentile[T any](sorted []T, p float64) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
