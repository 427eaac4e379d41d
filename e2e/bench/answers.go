package main

import (
	"io"
	"net/http"
	"strings"
)

// answers is a provider. It knows a call for a stream by its user agent, as
// reading the body would cost the machine more than answering.
type answers struct{ chunks int }

const streamAgent = "bench-stream"

// ServeHTTP answers at a usual size, with usage to settle.
func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken request shows at the client
	if r.UserAgent() == streamAgent {
		a.stream(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"`+
		strings.Repeat("some text ", 60)+`"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":120,"total_tokens":370}}`)
}

// stream answers token by token, each in a packet of its own.
func (a answers) stream(w http.ResponseWriter) {
	const head = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m1","system_fingerprint":"fp_1",`
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for range a.chunks {
		_, _ = io.WriteString(w, head+`"choices":[{"index":0,"delta":{"content":" some"},"logprobs":null,"finish_reason":null}],"usage":null}`+"\n\n")
		_ = out.Flush() // the client sees what fails
	}
	_, _ = io.WriteString(w, head+`"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}`+"\n\n"+
		head+`"choices":[],"usage":{"prompt_tokens":250,"completion_tokens":300,"total_tokens":550}}`+"\n\ndata: [DONE]\n\n")
}
