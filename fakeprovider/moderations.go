package fakeprovider

import (
	"encoding/json"
	"fmt"
	"strings"
)

// moderationTexts are the texts of an input: a text, texts, or parts.
func moderationTexts(raw json.RawMessage) ([]string, bool) {
	var text string
	var texts []string
	if json.Unmarshal(raw, &text) == nil {
		return []string{text}, true
	}
	if json.Unmarshal(raw, &texts) == nil {
		return texts, true
	}
	text, ok := contentText(raw)
	return []string{text}, ok
}

func (c *call) serveModerations() {
	m, bad := c.members()
	if bad == nil {
		bad = c.model(m)
	}
	if bad != nil {
		c.refuse(*bad)
		return
	}
	texts, ok := moderationTexts(m["input"])
	if !ok || len(texts) == 0 {
		c.refuse(*invalid("input", "'input' must be a text, texts or parts."))
		return
	}
	all := strings.Join(texts, "")
	if !c.misbehave("input", all) {
		return
	}
	use := tokens{prompt: textTokens(all)}
	if c.faults.Max {
		use.prompt = int64(len(all))
	}
	if !c.beginOrBill(use) {
		return
	}
	c.bill(use)
	c.deliverJSON(c.moderation(len(texts), use))
}

// moderation flags nothing. Mistral's has a usage, OpenAI's none.
func (c *call) moderation(n int, use tokens) any {
	type result struct {
		Flagged    bool               `json:"flagged"`
		Categories map[string]bool    `json:"categories"`
		Scores     map[string]float64 `json:"category_scores"`
	}
	out := struct {
		ID      string          `json:"id"`
		Model   string          `json:"model"`
		Results []result        `json:"results"`
		Usage   json.RawMessage `json:"usage,omitempty"`
	}{ID: "modr-1", Model: c.served()}
	for range n {
		out.Results = append(out.Results, result{Categories: map[string]bool{"violence": false}, Scores: map[string]float64{"violence": 0.001}})
	}
	switch {
	case c.faults.NoUsage, c.server.cfg.Dialect != Mistral:
	case c.faults.BadUsage:
		out.Usage = json.RawMessage(`{"prompt_tokens":"many"}`)
	default:
		out.Usage = fmt.Appendf(nil, `{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":0}`, use.prompt, use.prompt)
	}
	return out
}
