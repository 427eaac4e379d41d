package extauthz_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/extauthz"
	"aigateway/internal/agentbody"
)

// benchCall is a call with a body of some size and the headers an SDK sends.
func benchCall(b *testing.B, size int) []byte {
	b.Helper()
	return benchCallOf(b, strings.Replace(`{"model":"moonshot/kimi-k2.6","stream":true,"max_tokens":500,"messages":[{"role":"user","content":"hi"}]}`,
		"hi", strings.Repeat("word ", size/5), 1))
}

func benchCallOf(b *testing.B, body string) []byte {
	b.Helper()
	msg, err := proto.Marshal(authorized("8f1a2c3e-5a77-4a53-9d7e-0b1f4b7a9c11", body,
		"x-aig-tag", "team/search/summarize", "user-agent", "OpenAI/Python 3.54.0", "accept", "application/json",
		"x-stainless-lang", "python", "x-stainless-os", "Linux", "x-stainless-runtime-version", "3.13.1", ":method", "POST",
		":path", "/v1/chat/completions", ":authority", "localhost:8080", ":scheme", "http", "x-forwarded-proto", "http"))
	if err != nil {
		b.Fatal(err)
	}
	return msg
}

// admitAll is a ledger without a cost of its own.
type admitAll struct{ accounts []int64 }

func (l admitAll) Reserve(_ context.Context, r budget.Request) (budget.Reservation, error) {
	return budget.Reservation{
		ID: 1 << 43, ReservedAt: noon, Attribution: r.Attribution, Bound: r.Bound, Accounts: l.accounts,
		Tightest: &budget.Status{Budget: budget.Budget{Cap: budget.Dollar}, Spent: budget.Cent, Reserved: r.Bound},
	}, nil
}

func (admitAll) Defaults(budget.Tag, string) budget.Defaults { return budget.Defaults{} }
func (admitAll) Watched(budget.Tag, string) bool             { return true }

// BenchmarkCheck is a decision without gRPC: message bytes in, message bytes
// out. The ledger's share is in its own benchmark.
func BenchmarkCheck(b *testing.B) {
	agent := benchCallOf(b, string(agentbody.Chat("moonshot/kimi-k2.6", 128<<10, true)))
	largest := benchCallOf(b, string(agentbody.Chat("moonshot/kimi-k2.6", 900<<10, true)))
	for _, bb := range []struct {
		name   string
		msg    []byte
		memory int64 // of bodies
	}{
		{"1KiB", benchCall(b, 1<<10), 0},
		{"32KiB", benchCall(b, 32<<10), 0},
		{"agent/128KiB", agent, 1}, // too little to remember it
		{"agent/128KiB/again", agent, 0},
		{"agent/1MiB", largest, 1},
		{"agent/1MiB/again", largest, 0},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := newServer(b, keysWith(nil), admitAll{[]int64{1, 2}}, func(c *extauthz.Config) { c.BodyMemory = bb.memory })
			msg := bb.msg
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				out, err := s.CheckWire(b.Context(), msg, dst)
				if err != nil || len(out) < 300 {
					b.Fatal(len(out), err)
				}
			}
		})
	}
}

// raw is a message that is already bytes, and a codec for it.
type raw struct{ b []byte }

type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*raw)
	if !ok {
		return nil, errors.New("not raw")
	}
	return mem.BufferSlice{mem.SliceBuffer(m.b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*raw)
	if !ok {
		return errors.New("not raw")
	}
	m.b = data.Materialize()
	return nil
}

// noopMessage is read and written without being looked at.
type noopMessage struct{ answer []byte }

func (*noopMessage) ReadWire(mem.BufferSlice) error { return nil }

func (m *noopMessage) AppendWire(dst []byte) ([]byte, error) { return append(dst, m.answer...), nil }

// noop answers every check with the same yes.
type noop struct {
	authv3.UnimplementedAuthorizationServer
	answer []byte
}

func (n *noop) register(g *grpc.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName, HandlerType: (*authv3.AuthorizationServer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Check", Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new(noopMessage)
			if err := decode(m); err != nil {
				return nil, err
			}
			m.answer = n.answer
			return m, nil
		}}},
	}, n)
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOverGRPC compares a decision with a no-op on the same server
// options; client and server share the process, so both are in the number.
func BenchmarkOverGRPC(b *testing.B) {
	answer := extauthz.EncodeOK("8f1a2c3e-5a77-4a53-9d7e-0b1f4b7a9c11", "moonshot", envoy.Decision{Token: strings.Repeat("t", 300)})
	s := newServer(b, keysWith(nil), admitAll{[]int64{1, 2}})
	for _, bb := range []struct {
		name     string
		register func(*grpc.Server)
	}{
		{"noop", (&noop{answer: answer}).register},
		{"check", func(g *grpc.Server) { s.Register(g) }},
		{"generated", func(g *grpc.Server) { authv3.RegisterAuthorizationServer(g, s) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			conn := serve(b, bb.register)
			in := &raw{benchCall(b, 1<<10)}
			b.ReportAllocs()
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					var out raw
					if err := conn.Invoke(context.Background(), authv3.Authorization_Check_FullMethodName, in, &out, grpc.ForceCodecV2(rawCodec{})); err != nil {
						b.Error(err)
						return
					}
				}
			})
			// Wall time depends on what else the machine does; CPU time hardly.
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkCheckTold is BenchmarkCheck with somebody to tell.
func BenchmarkCheckTold(b *testing.B) {
	queue := make(chan extauthz.Decided, 1)
	s := newServer(b, keysWith(nil), admitAll{[]int64{1, 2}}, func(c *extauthz.Config) {
		c.Told = func(d extauthz.Decided) {
			select {
			case queue <- d:
			default:
			}
		}
	})
	msg, dst := benchCall(b, 1<<10), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if out, err := s.CheckWire(b.Context(), msg, dst); err != nil || len(out) < 300 {
			b.Fatal(len(out), err)
		}
	}
}
