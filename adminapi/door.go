package adminapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"aigateway/budget"
)

// Limits of what is held for callers while their messages arrive, which may be
// of maxRequestBytes each.
const (
	mostOfStrangers = 16 // of all callers of open methods together
	mostOfKey       = 64 // of one key
	mostWatchers    = 64 // of health, while they watch
	mostExplained   = 4  // REST bodies over maxBodyBytes of one key
	receiveTimeout  = 30 * time.Second
)

// door looks at a gRPC stream when its headers are there and before its message
// is: who has no key, or not the right one, has nothing read of what they send.
// The interceptors behind it check again, and check REST's calls, which come
// through the pipe.
type door struct {
	calls  *calls
	known  map[string]bool // full names of methods; others end by themselves
	inside turns
}

func newDoor(c *calls) *door { return &door{calls: c, known: map[string]bool{}} }

// knows takes the methods that were registered.
func (d *door) knows(s *grpc.Server) {
	for name, service := range s.GetServiceInfo() {
		for _, m := range service.Methods {
			d.known["/"+name+"/"+m.Name] = true
		}
	}
}

// tap implements tap.ServerInHandle. It runs where a connection is read, so it
// must not wait for anything.
func (d *door) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if p, ok := peer.FromContext(ctx); ok && p.Addr == (pipeAddr{}) || !d.known[info.FullMethodName] {
		return ctx, nil
	}
	who, most := "", mostOfStrangers
	if !open(info.FullMethodName) {
		key, err := authenticate(d.calls.auth, info.Header.Get("authorization"), info.Header.Get("x-api-key"))
		if err == nil {
			err = authorize(key, info.FullMethodName)
		}
		if err != nil {
			return ctx, d.calls.refuse(ctx, info.FullMethodName, err)
		}
		who, most = key.ID, mostOfKey
	}
	leave, err := d.inside.enter(who, most)
	if err != nil {
		return ctx, d.calls.refuse(ctx, info.FullMethodName, err)
	}
	return receiving(ctx, leave), nil
}

// arriving is a stream whose message is not there yet.
type arriving struct {
	leave func()
	timer *time.Timer
}

type arrivingContext struct{}

// receiving is ctx for a stream that may take receiveTimeout until arrived is
// called; leave is called then, or when the stream ends.
func receiving(ctx context.Context, leave func()) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	a := &arriving{leave: sync.OnceFunc(leave), timer: time.AfterFunc(receiveTimeout, cancel)}
	context.AfterFunc(ctx, func() {
		cancel()
		a.timer.Stop()
		a.leave()
	})
	return context.WithValue(ctx, arrivingContext{}, a)
}

// arrived says that the message of a stream is there.
func arrived(ctx context.Context) {
	if a, ok := ctx.Value(arrivingContext{}).(*arriving); ok {
		a.timer.Stop()
		a.leave()
	}
}

// arrivingStream is a stream that calls arrived after its only message.
type arrivingStream struct{ grpc.ServerStream }

func (s *arrivingStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	arrived(s.Context())
	return err
}

// turns count what each caller has going on. The zero value is ready.
type turns struct {
	mu  sync.Mutex
	now map[string]int // by caller; no zeros
}

// enter refuses a caller who already has most. leave must be called once.
func (t *turns) enter(who string, most int) (leave func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now[who] >= most {
		return nil, &budget.Error{
			Kind: budget.KindRateLimited, Reason: "too_many_at_once",
			Message: fmt.Sprintf("%d such requests of this caller are already on their way, which is the most at once; wait for one to be answered", most),
		}
	}
	if t.now == nil {
		t.now = map[string]int{}
	}
	t.now[who]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.now[who]--; t.now[who] == 0 {
			delete(t.now, who)
		}
	}, nil
}
