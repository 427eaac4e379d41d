package pricing_test

import (
	"net/http"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// mode is one way an answer comes and ends.
type mode string

const (
	whole       mode = "whole"
	streamed    mode = "streamed"
	wholeCut    mode = "whole answer cut"
	streamCut   mode = "stream cut"
	streamError mode = "error in mid-stream"
)

func (p *pair) mode() mode {
	failed := strings.Contains(strings.ReplaceAll(p.answer, `"error":null`, ""), `"error"`)
	switch {
	case p.cut && p.stream:
		return streamCut
	case p.cut:
		return wholeCut
	case p.stream && failed:
		return streamError
	case p.stream && p.basis == budget.BasisUsage:
		return streamed
	case p.status == http.StatusOK && p.basis == budget.BasisUsage:
		return whole
	}
	return "" // a refusal, or an answer without a report
}

// Every provider that speaks in a way of its own has a recorded answer in every
// mode, on each endpoint it has.
func TestEveryDialectIsRecordedInEveryMode(t *testing.T) {
	have := map[string]map[mode]bool{}
	for _, file := range fixtures(t) {
		for _, p := range readPairs(t, file) {
			provider, _, _ := strings.Cut(p.call(t).Model, "/")
			key := provider + " " + string(p.endpoint)
			if have[key] == nil {
				have[key] = map[mode]bool{}
			}
			have[key][p.mode()] = true
		}
	}
	plain, generating := []mode{whole, wholeCut}, []mode{whole, wholeCut, streamed, streamCut, streamError}
	for endpoint, providers := range map[pricing.Endpoint]string{
		pricing.Chat:        "openai azure anthropic gemini moonshot deepseek xai mistral groq openrouter vllm odd",
		pricing.Completions: "vllm",
		pricing.Responses:   "openai xai groq openrouter",
		pricing.Messages:    "anthropic deepseek openrouter",
		pricing.Embeddings:  "openai voyage",
		pricing.Rerank:      "cohere jina",
		pricing.Moderations: "mistral",
		pricing.Images:      "openai",
		pricing.ImageEdits:  "openai",
		pricing.Speech:      "openai",

		pricing.Transcriptions: "openai",
		pricing.Translations:   "openai",
	} {
		modes := generating
		switch endpoint {
		case pricing.Embeddings, pricing.Rerank, pricing.Moderations, pricing.Translations:
			modes = plain
		case pricing.Speech: // a whole one is a recording
			modes = []mode{streamed, streamCut, streamError}
		}
		for provider := range strings.FieldsSeq(providers) {
			for _, m := range modes {
				if key := provider + " " + string(endpoint); !have[key][m] {
					t.Errorf("%s: no answer is recorded of mode %q", key, m)
				}
			}
		}
	}
}
