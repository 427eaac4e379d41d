package pricing_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"aigateway/pricing"
)

// What vendors publish of images and audio: the most tokens that one can take.
func TestVendorsRulesForMedia(t *testing.T) {
	c := mustLoad(t)
	png := func(w, h int) string {
		return fmt.Sprintf(`{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}`, encodedPNG(w, h))
	}
	const elsewhere = `{"type":"image_url","image_url":"https://a/b"}`
	second := base64.StdEncoding.EncodeToString(wavOf(8000, 2, 16_001)) // a sample longer
	heard := fmt.Sprintf(`{"type":"input_audio","input_audio":{"data":%q,"format":"wav"}}`, second)
	plain := fmt.Sprintf(`{"type":"input_audio","input_audio":%q}`, second)
	for _, tc := range []struct {
		model, part, label string
		want               int64
	}{
		{"gemini/gemini-2.5-flash", png(384, 384), "images", 4*516 + 100},
		{"gemini/gemini-2.5-pro", png(1024, 768), "images", 12*516 + 100},
		{"gemini/gemini-2.5-flash", elsewhere, "images", 10_000_000},
		{"gemini/gemini-3.8-flash", elsewhere, "images", 2240},
		{"gemini/gemini-3.8-flash", heard, "audio", 64},
		{"gemini/gemini-2.5-flash-lite", heard, "audio", 64},
		{"moonshot/kimi-k2.6", png(280, 29), "images", 10*2 + 100},
		{"moonshot/kimi-k2.6", elsewhere, "images", 4500},
		{"moonshot/kimi-k3", elsewhere, "images", 17_000},
		{"moonshot/kimi-k3.1-pro", png(28, 28), "images", 10_000_000},
		{"xai/grok-4.7", png(1, 1), "images", 2000},
		{"mistral/mistral-medium-latest", png(1540, 14), "images", 110*2 + 100},
		{"mistral/mistral-medium-latest", elsewhere, "images", 12_500},
		{"mistral/mistral-large-4", elsewhere, "images", 10_000_000},
		{"mistral/voxtral-small-latest", plain, "audio", 30 * 13},
	} {
		b := mustBound(t, c, pricing.Chat, fmt.Sprintf(`{"model":%q,"max_tokens":10,"messages":[{"role":"user","content":[%s]}]}`, tc.model, tc.part), noon())
		var got, input, context int64
		for _, l := range b.Lines() {
			switch l.Label {
			case tc.label:
				got = l.Quantity
			case "input":
				input = l.Quantity
			}
		}
		if sheet, ok := builtIn().Sheet(tc.model); ok {
			context = sheet.Limits.Context
		}
		if got != tc.want || input > context {
			t.Errorf("%s: %s take %d tokens, want %d; input %d of %d", tc.model, tc.label, got, tc.want, input, context)
		}
	}
}
