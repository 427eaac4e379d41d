package pricing

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// cohereMeta is the meta object of Cohere's answers. Only billed_units is
// billed; what it calls tokens is not.
type cohereMeta struct {
	Billed *struct {
		Units jsontext.Value `json:"search_units"`
		Input jsontext.Value `json:"input_tokens"`
		Total jsontext.Value `json:"total_tokens"`
	} `json:"billed_units"`
	Total  jsontext.Value `json:"total_tokens"`
	Prompt jsontext.Value `json:"prompt_tokens"`
	Input  jsontext.Value `json:"input_tokens"`
}

// readSearchUnits reads what Cohere bills a rerank call by.
func readSearchUnits(raw string) (usage, error) {
	var m cohereMeta
	if json.Unmarshal([]byte(raw), &m) != nil || m.Billed == nil {
		return usage{}, errUsage
	}
	n, ok := ceilCount(m.Billed.Units)
	if !ok || n > maxCount {
		return usage{}, errUsage
	}
	return usage{units: n}, nil
}

// readRankTokens reads the tokens a reranker bills: Jina, Voyage and vLLM give
// a total, Cohere's newer models billed input tokens.
func readRankTokens(raw string) (usage, error) {
	var m cohereMeta
	if json.Unmarshal([]byte(raw), &m) != nil {
		return usage{}, errUsage
	}
	list := []jsontext.Value{m.Total, m.Prompt, m.Input}
	if m.Billed != nil {
		list = append(list, m.Billed.Total, m.Billed.Input)
	}
	var u usage
	found := false
	for _, v := range list {
		if len(v) == 0 || string(v) == "null" {
			continue
		}
		n, ok := ceilCount(v)
		if !ok || n > maxCount {
			return usage{}, errUsage
		}
		found = true
		u.prompt = max(u.prompt, n)
	}
	if !found {
		return usage{}, errUsage
	}
	u.counts[input] = u.prompt
	return u, nil
}

// readCustom reads an unknown provider's report by its extractor's paths.
func readCustom(raw string, p *pin) (usage, error) {
	x := p.paths
	if x == nil {
		return usage{}, errUsage
	}
	if !jsontext.Value(raw).IsValid() {
		return usage{}, errUsage
	}
	bad := false
	count := func(path string) (int64, bool) {
		v := lookup(raw, path)
		if path == "" || len(v) == 0 || string(v) == "null" {
			return 0, false
		}
		n, ok := ceilCount(v)
		bad = bad || !ok || n > maxCount
		return n, ok
	}
	c := counts{cacheOutside: x.CacheOutside}
	c.prompt, c.hasPrompt = count(x.Input)
	c.completion, c.hasCompletion = count(x.Output)
	c.total, c.hasTotal = count(x.Total)
	c.cached, _ = count(x.CacheRead)
	c.writeLong, _ = count(x.CacheWriteLong)
	c.writeShort, _ = count(x.CacheWrite)
	c.write = c.writeShort + c.writeLong
	c.audioIn, _ = count(x.InputAudio)
	c.imageIn, _ = count(x.InputImage)
	c.audioOut, _ = count(x.OutputAudio)
	if bad {
		return usage{}, errUsage
	}
	u, err := c.normalise(p)
	if err == nil && x.Cost != "" {
		u.cost, u.hasCost = nanoUSD(lookup(raw, x.Cost))
	}
	return u, err
}

// lookup is the value at a path of member names joined by dots, or nil.
func lookup(raw, path string) jsontext.Value {
	v := jsontext.Value(raw)
	for name := range strings.SplitSeq(path, ".") {
		var members map[string]jsontext.Value
		if json.Unmarshal(v, &members) != nil {
			return nil
		}
		v = members[name]
	}
	return v
}
