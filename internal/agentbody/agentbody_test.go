package agentbody_test

import (
	"bytes"
	"testing"

	"aigateway/internal/agentbody"
	"aigateway/pricing"
)

func TestChat(t *testing.T) {
	for _, size := range []int{1 << 10, 10_000, 128 << 10, 1 << 20} {
		for _, stream := range []bool{false, true} {
			body := agentbody.Chat("bench/m1", size, stream)
			if got := len(body); got < size-2 || got > size+2 {
				t.Errorf("a body of %d bytes has %d", size, got)
			}
			c, err := pricing.ParseCall(pricing.Chat, body)
			if err != nil {
				t.Fatal(err)
			}
			if c.Stream != stream {
				t.Errorf("stream = %v", c.Stream)
			}
			if size > 100_000 && (bytes.Count(body, []byte(`\n`)) < size/100 || bytes.Count(body, []byte(`"properties"`)) < 20) {
				t.Errorf("a body of %d bytes has too few escapes or tools", size)
			}
		}
	}
}
