package pricing

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// responsesUsage is the usage object of the Responses API.
type responsesUsage struct {
	Input         *int64         `json:"input_tokens"`
	Output        *int64         `json:"output_tokens"`
	Total         *int64         `json:"total_tokens"`
	InputDetails  *inputDetails  `json:"input_tokens_details"`
	OutputDetails *outputDetails `json:"output_tokens_details"`
	costs
}

// readResponses reads the usage of the Responses API, and beside it how often
// hosted tools ran. Generated images are billed outside usage.
func readResponses(ev *Evidence, p *pin) (usage, error) {
	var r responsesUsage
	if err := json.Unmarshal([]byte(ev.Usage), &r); err != nil {
		return usage{}, errUsage
	}
	c := counts{
		prompt: value(r.Input), completion: value(r.Output), total: value(r.Total),
		hasPrompt: r.Input != nil, hasCompletion: r.Output != nil, hasTotal: r.Total != nil,
	}
	c.details(r.InputDetails, r.OutputDetails)
	u, err := c.normalise(p)
	if err != nil {
		return u, err
	}
	if p.has(pinCost) {
		u.readCost(&r.costs)
	}
	u.readTools(ev.ToolUsage)
	return u, nil
}

// readTools reads how often hosted tools ran. What cannot be read is not
// counted: the bound's number then stands. Images are reported in tokens, with
// and without sums, or by the piece: any number but 0 is one.
func (u *usage) readTools(raw string) {
	var t struct {
		Search jsontext.Value `json:"web_search"`
		Images jsontext.Value `json:"image_gen"`
	}
	var search struct {
		Requests *int64 `json:"num_requests"`
	}
	if raw == "" || json.Unmarshal([]byte(raw), &t) != nil {
		return
	}
	if len(t.Search) > 0 && json.Unmarshal(t.Search, &search) == nil && search.Requests != nil && *search.Requests >= 0 && *search.Requests < maxCount {
		u.searches, u.hasSearches = *search.Requests, true
	}
	u.unpriced = bytes.ContainsAny(t.Images, "123456789")
}
