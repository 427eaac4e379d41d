package pricing_test

import (
	"testing"

	"aigateway/pricing"
)

// What a body holds beside text and images has no bound, however a part names
// it; and what cannot be read is refused wherever it stands.
func TestPartsThatCannotBeBoundedAreRefused(t *testing.T) {
	c := settleCatalog(t)
	const sol, sonnet = "openai/gpt-6-sol", "anthropic/claude-sonnet-4.6"
	chat := func(part string) string {
		return `{"model":"` + sol + `","max_tokens":10,"messages":[{"role":"user","content":[` + part + `]}]}`
	}
	resp := func(part string) string {
		return `{"model":"` + sol + `","max_output_tokens":10,"input":[{"role":"user","content":[` + part + `]}]}`
	}
	msgs := func(block string) string {
		return `{"model":"` + sonnet + `","max_tokens":10,"messages":[{"role":"user","content":[` + block + `]}]}`
	}
	result := func(block string) string {
		return msgs(`{"type":"tool_result","tool_use_id":"t","content":[` + block + `]}`)
	}
	const media, field, double = "unbounded_media", "field_invalid", "duplicate_key"
	for _, tt := range []struct {
		e            pricing.Endpoint
		body, reason string
	}{
		{pricing.Chat, chat(`{"type":"input_video"}`), media},
		{pricing.Chat, chat(`{"type":"input_video","input_video":{"data":"AAAA","format":"mp4"}}`), media},
		{pricing.Chat, chat(`{"type":"video_url","video_url":{"url":"https://a"}}`), media},
		{pricing.Responses, resp(`{"type":"input_video","input_video":"https://a"}`), media},
		{pricing.Responses, resp(`{"type":"video_url","video_url":"https://a"}`), media},
		{pricing.Messages, msgs(`{"type":"input_video","input_video":{"data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"video","source":{"type":"base64","media_type":"video/mp4","data":"AAAA"}}`), media},
		{pricing.Messages, result(`{"type":"input_video","input_video":{"data":"AAAA"}}`), media},

		// What the data is, nobody says.
		{pricing.Messages, msgs(`{"type":"image","source":{"type":"base64","data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"image","source":{"data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"document","source":{"type":"base64","data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"document","source":{"type":"base64","media_type":null,"data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"document","source":{"type":"base64","media_type":"","data":"AAAA"}}`), media},
		{pricing.Messages, msgs(`{"type":"document","source":{"type":"text","media_type":"text/html","data":"AAAA"}}`), media},
		{pricing.Messages, result(`{"type":"image","source":{"type":"base64","data":"AAAA"}}`), media},

		// Errors inside an image are errors of the body.
		{pricing.Chat, chat(`{"type":"image_url","image_url":{"url":7}}`), field},
		{pricing.Chat, chat(`{"type":"image_url","image_url":{"url":"a","detail":7}}`), field},
		{pricing.Chat, chat(`{"type":"image_url","image_url":{"url":"a","url":"b"}}`), double},
		{pricing.Chat, chat(`{"type":"image_url","image_url":7}`), field},
		{pricing.Responses, resp(`{"type":"input_image","image_url":{"url":7}}`), field},
		{pricing.Responses, resp(`{"type":"input_image","image_url":{"url":"a","detail":7}}`), field},
		{pricing.Responses, resp(`{"type":"input_image","image_url":{"url":"a","url":"b"}}`), double},
		{pricing.Responses, resp(`{"type":"input_image","image_url":7}`), field},
		{pricing.Responses, resp(`{"type":"input_image","image_url":"a","detail":7}`), field},
		{pricing.Responses, `{"model":"` + sol + `","input":[{"type":"function_call_output","output":[{"type":"input_image","image_url":{"url":7}}]}]}`, field},
		{pricing.Responses, `{"model":"` + sol + `","input":[{"type":"image_generation_call","result":"a","result":"b"}]}`, double},
		{pricing.Messages, msgs(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":7}}`), field},
		{pricing.Messages, msgs(`{"type":"image","source":{"type":"url","url":7}}`), field},
		{pricing.Messages, msgs(`{"type":"image","source":{"type":"url","url":"a","url":"b"}}`), double},
		{pricing.Messages, result(`{"type":"image","source":{"type":"url","url":7}}`), field},
		{pricing.Messages, result(`{"type":"image","source":{"type":"base64","media_type":7,"data":"AAAA"}}`), field},
		{pricing.Chat, chat(`{"type":"input_audio","input_audio":{"data":7}}`), field},
		{pricing.Chat, chat(`{"type":"input_audio","input_audio":{"data":"AAAA","data":"AAAA"}}`), double},
	} {
		_, err := tryBound(c, tt.e, tt.body, noon())
		if err == nil {
			t.Errorf("%s has a bound: %s", tt.e, tt.body)
			continue
		}
		if e := refusal(t, err); e.Reason != tt.reason {
			t.Errorf("%s %s: %s (%s), want %s", tt.e, tt.body, e.Reason, e.Message, tt.reason)
		}
	}
}
