package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"aigateway/envoy"
)

// BenchmarkEnvoyStream is Envoy's CPU time per chunk of a stream, with and
// without the capture. Compare the two in one run.
func BenchmarkEnvoyStream(b *testing.B) {
	const chunks = 20000
	chunk := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"kimi-k2.6","choices":[{"index":0,"delta":{"content":"hello there"},"finish_reason":null}],"usage":null}` + "\n\n"
	provider := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range chunks {
			io.WriteString(w, chunk)
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, strings.Join(openaiStream, ""))
	}
	benchEnvoy(b, "chunk", chunks, provider)
}

// BenchmarkEnvoyEmbeddings is Envoy's CPU time per MiB of an embeddings answer.
func BenchmarkEnvoyEmbeddings(b *testing.B) {
	item := `{"object":"embedding","index":0,"embedding":[` + strings.Repeat("0.0123456789,-0.987654321e-3,", 1000) + `0]},`
	body := `{"data":[` + strings.Repeat(item, 21<<20/len(item)) + `{}],"usage":` + use + `}`
	benchEnvoy(b, "MiB", 21, answerJSON(body))
}

func benchEnvoy(b *testing.B, unit string, units int, provider http.HandlerFunc) {
	for _, mode := range []string{"plain", "capture", "strip"} {
		b.Run(mode, func(b *testing.B) {
			e := start(b, envoy.BootstrapConfig{}, nil)
			check := allow("fake", envoy.Decision{Token: "t", StripUsage: mode == "strip"})
			if mode == "plain" {
				with := check
				check = func(r *authv3.CheckRequest) *authv3.CheckResponse {
					resp := with(r)
					resp.DynamicMetadata = nil
					return resp
				}
			}
			e.set(check, provider)
			before := cpuMicros(b, e.PID())
			for b.Loop() {
				if r := e.do(b, "POST", chat, "{}"); r.status != 200 {
					b.Fatal(r.status)
				}
			}
			used := cpuMicros(b, e.PID()) - before
			b.ReportMetric(float64(used)/float64(b.N*units), "µs/"+unit)
			b.ReportMetric(0, "ns/op") // wall time says nothing here
		})
	}
}

// cpuMicros is the CPU time a process has used, at the kernel's 10 ms ticks.
func cpuMicros(b *testing.B, pid int) int64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return (user + system) * 10000
}

// BenchmarkEnvoyRequest is Envoy's CPU time per small call, headers as an SDK
// sends them.
func BenchmarkEnvoyRequest(b *testing.B) {
	e := start(b, envoy.BootstrapConfig{}, nil)
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	var headers []string
	for _, name := range []string{"Lang", "Package-Version", "Os", "Arch", "Runtime", "Runtime-Version", "Async", "Retry-Count", "Read-Timeout"} {
		headers = append(headers, "X-Stainless-"+name, "value")
	}
	before := cpuMicros(b, e.PID())
	for b.Loop() {
		if r := e.do(b, "POST", chat, "{}", headers...); r.status != 200 {
			b.Fatal(r.status)
		}
	}
	b.ReportMetric(float64(cpuMicros(b, e.PID())-before)/float64(b.N), "µs/call")
}
