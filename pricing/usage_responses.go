package pricing

import "github.com/go-json-experiment/json"

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
// counted: the bound's number then stands.
func (u *usage) readTools(raw string) {
	var t struct {
		Search *struct {
			Requests *int64 `json:"num_requests"`
		} `json:"web_search"`
		Images *struct {
			Total *int64 `json:"total_tokens"`
		} `json:"image_gen"`
	}
	if raw == "" || json.Unmarshal([]byte(raw), &t) != nil {
		return
	}
	if t.Search != nil && t.Search.Requests != nil && *t.Search.Requests >= 0 && *t.Search.Requests < maxCount {
		u.searches, u.hasSearches = *t.Search.Requests, true
	}
	u.unpriced = t.Images != nil && value(t.Images.Total) > 0
}
